"""Texts for the prompt bank: from templates, captions and language models, chosen for spread."""
