"""Whether the three steps hold what they promise on this machine's CUDA card."""
