"""Kept clips to captions: sources in order, each caption labelled with where it came from."""
