"""What an expression may speak of, and of which type it is: words, attributes, parameters."""
