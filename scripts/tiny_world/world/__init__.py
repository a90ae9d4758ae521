"""The tiny world: shapes, looks, scenes, captions."""
