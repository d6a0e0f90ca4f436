"""Uniform grids for weights and activations: mathematics on tensors, nothing of training."""
