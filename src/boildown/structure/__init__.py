"""Who reads what, and channels and features that go: networks that get narrower."""
