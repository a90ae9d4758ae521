"""The benchmark's parts: networks with random weights, stopwatches, one module for each part.

Nothing in ``aligndiff`` imports this package, and it uses nothing but the library's public names.
"""
