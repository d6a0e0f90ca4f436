"""Checkpoints as others write them: read with nothing in them executed, and written."""
