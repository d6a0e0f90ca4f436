"""Files that appear whole or not at all, tables of figures, and bars of progress."""
