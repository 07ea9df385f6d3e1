"""Built-in algorithms, registered through the public hooks."""
