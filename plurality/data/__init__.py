"""What people said: comparisons, their users, items and embeddings, read, split and stored."""
