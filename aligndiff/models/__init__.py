"""Networks and what wraps them: weights, devices, the diffusion model, the segmenters."""
