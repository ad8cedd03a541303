"""PAP: bundle bytes → checked → compiled CEL → Bundle(version, digest); nothing else."""
