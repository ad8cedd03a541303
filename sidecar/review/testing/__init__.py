"""Tests of policies: suites as written, the cells of their matrices, and what each came to."""
