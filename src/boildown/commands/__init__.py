"""The commands: each module adds one, and imports what does it when it runs."""
