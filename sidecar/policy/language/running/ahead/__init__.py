"""What is known of a tree ahead of any evaluation: which parts are constant, and what others weigh."""
