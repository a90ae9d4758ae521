"""What the three steps cost, measured."""
