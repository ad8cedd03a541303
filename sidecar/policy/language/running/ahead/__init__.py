"""What is known of a tree ahead of any evaluation: its constant parts, and what others weigh."""
