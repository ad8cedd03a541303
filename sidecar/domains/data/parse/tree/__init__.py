"""What the trees of the two readers are made of."""
