"""Errors, files, console, options: knows nothing of images or models."""
