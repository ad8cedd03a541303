"""How the log is kept: what it says of itself, what it stands on, what is done with its past."""
