"""How a mask gets sharp edges: one way a file, listed in `table`."""
