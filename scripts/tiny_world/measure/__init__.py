"""The method measured on the tiny world."""
