"""What a heatmap is: one definition a file, listed in `table`."""
