"""Low rank: shared rewards and users' weights on them, by EM with the weights integrated out."""
