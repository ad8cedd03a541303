"""What an allow may hand out: exchanged tokens and human approvals."""
