"""What people keep comparisons in: files and frames opened, and their columns checked."""
