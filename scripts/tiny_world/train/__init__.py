"""Training of the tiny models."""
