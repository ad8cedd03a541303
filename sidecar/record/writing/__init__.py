"""What the one writer has in hand: what is not synced, and the segment where it stands."""
