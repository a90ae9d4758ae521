"""Where texts come from: one module each, named in `table.py`."""
