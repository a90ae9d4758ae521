"""The tiny world: a renderer of scenes with exact masks, and the trainers of the bundled models.

Nothing in ``aligndiff`` imports this package: the method must not know that the world exists.
"""
