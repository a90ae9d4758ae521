"""SAM 3 as a segmenter: support and query side by side on one picture, by transformers' model."""
