"""What is asked of a log that is there: where a record is, and proofs that can be handed out."""
