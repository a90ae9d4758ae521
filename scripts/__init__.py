"""Command line entry points: each parses, validates, builds, calls and reports."""
