"""What every layer stands on: errors, whole-file writes, processes, the terminal."""
