"""Tensors in one stream, coded by mixed predictions; see `boildown.codec.mixed.pieces`."""
