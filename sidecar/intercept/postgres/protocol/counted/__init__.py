"""What is counted of statements: what there is to tell of them, and what they take."""
