"""What the loaders share."""
