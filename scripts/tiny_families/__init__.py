"""Tiny pipelines of every family, with random weights, made offline: for tests and checks."""
