"""Low rank: W ~ U V^T. Pure functions on tensors, and the plain networks they lead to."""
