"""What is trained on: plain classes whose loaders any Trainer accepts. No Lightning here."""
