"""Did it help? Segmenters trained from the real pairs alone, and with samples and scenes."""
