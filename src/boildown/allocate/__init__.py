"""Which layer gets how much of what the file may cost."""
