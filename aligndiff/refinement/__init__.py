"""Step 3: masks by few-shot conditioned refinement (Algorithm 1)."""
