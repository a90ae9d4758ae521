"""The drawn world: shapes, looks, scenes and their captions."""
