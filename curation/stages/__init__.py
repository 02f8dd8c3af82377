"""Stages: one file each, knobs + columns + one function."""
