"""Mixed precision: the plugins, and what half precision does to gradients."""
