"""Segmenters of one class that are trained for it: networks, batches, augmentation, the loop."""
