"""Pruning: pure functions on tensors."""
