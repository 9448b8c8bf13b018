"""How far people agree, and what they disagree about."""
