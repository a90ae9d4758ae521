"""Step 1: normalized masked textual inversion (Eq. 3)."""
