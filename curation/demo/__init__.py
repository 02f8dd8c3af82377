"""The demo: footage whose true answer is known; what was found is held against it."""
