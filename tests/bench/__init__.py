"""What is measured and never asserted: run as `python -m tests.bench`."""
