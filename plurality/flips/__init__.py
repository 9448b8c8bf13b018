"""LCPO's noise: labels turned round at a rate of each user's own, found by EM and told from taste."""
