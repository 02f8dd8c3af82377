"""Composes films of known transitions and trains the network on them; not used at run time."""
