"""Step 2: images with heatmaps from cross-attention."""
