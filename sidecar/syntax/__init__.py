"""Bytes read strictly: JSON without duplicate keys, YAML 1.2, raw paths, globs."""
