"""Few-shot benchmarks as they lie on disk: a file each, and one line in `table.py`."""
