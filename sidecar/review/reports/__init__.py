"""What review found, in the formats that other tools read."""
