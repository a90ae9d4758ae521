"""Contact sheets, overlays and plots."""
