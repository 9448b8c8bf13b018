"""How a reward is found: the objective, its optimisers, EM, and the choice of settings on held-out items."""
