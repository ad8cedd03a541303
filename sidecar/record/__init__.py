"""The ledger: decisions and outcomes, durable, chained and verifiable."""
