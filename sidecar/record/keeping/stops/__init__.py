"""What stops retention and forgetting: legal holds, and clocks that cannot be believed."""
