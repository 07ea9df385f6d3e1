"""Built-in datasets, registered through the public hooks."""
