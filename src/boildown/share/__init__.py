"""Weight sharing: pure functions on tensors."""
