"""Pruning: pure functions on tensors."""

from boildown.locate import moved

__getattr__ = moved(__name__)
