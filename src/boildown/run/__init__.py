"""One run: from a config to a file, proven and reported."""
