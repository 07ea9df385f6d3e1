"""Built-in backbones, registered through the public hooks."""
