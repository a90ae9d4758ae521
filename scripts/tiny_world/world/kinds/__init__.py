"""The kinds of each category: bodies that differ in proportions, parts and outline."""
