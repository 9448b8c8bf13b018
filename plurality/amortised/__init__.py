"""VPL's codes: read off a user's comparisons by an encoder that is trained with the reward."""
