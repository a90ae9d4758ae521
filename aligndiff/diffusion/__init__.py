"""Text-to-image models: loading, tokens, sampling, and the attention recorded meanwhile."""
