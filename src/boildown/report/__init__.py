"""From results to tables and pictures; reads files, imports nothing of the training code."""
