"""Files that Python runs: alone here, for their folder becomes the first place of modules."""
