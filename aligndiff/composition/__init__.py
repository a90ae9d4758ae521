"""Pasting: things cut out of photos, put into other scenes (pure functions of arrays)."""
