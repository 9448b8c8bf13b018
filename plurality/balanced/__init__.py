"""MORE's balance: losses of several sources weighed so that none is sacrificed."""
