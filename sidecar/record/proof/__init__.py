"""What makes the ledger provable: Merkle tree, signed checkpoint, key and origin."""
