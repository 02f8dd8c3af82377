"""Figures of the training plane, measured side by side in one run."""
