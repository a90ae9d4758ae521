"""The three steps of the method: inversion, synthesis, refinement. Files on disk join them."""
