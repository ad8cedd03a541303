"""The files of the log: their form, how they are written, sealed and walked."""
