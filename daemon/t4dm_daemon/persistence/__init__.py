"""Where the data lives, and that it is ours to write."""
