"""Episodic training of a few-shot segmenter on real and synthetic pairs."""
