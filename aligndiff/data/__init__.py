"""Files in and out: images, support pairs, the prompt bank, paths, records, contact sheets."""
