"""MaxMin's groups: a head of several rewards, and the EM that finds who belongs to which."""
