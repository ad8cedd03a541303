"""What the PDP may be told about the world, each fact with its source and age."""
