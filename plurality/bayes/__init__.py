"""Users' codes in a Gaussian population whose mean is set by what is known of them; nothing heavy is imported here."""
