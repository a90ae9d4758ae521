"""A made dataset in the layouts that other programs read: what to take, and one module a format."""
