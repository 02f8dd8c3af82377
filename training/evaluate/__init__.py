"""Measures of a trained model. Each says in its name what it measures and nothing more."""
