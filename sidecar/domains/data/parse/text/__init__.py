"""Reads the text: cuts it into tokens and writes them again so that there is one reading."""
