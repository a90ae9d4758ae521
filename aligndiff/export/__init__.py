"""A dataset folder in the layouts that other tools read."""
