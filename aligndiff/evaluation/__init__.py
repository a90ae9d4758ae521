"""Masks, few-shot benchmarks, and what synthetic support adds."""
