"""What turns a segmenter's probability into a mask: edges, regions, health, and how sure it is."""
