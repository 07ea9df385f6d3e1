"""Built-in protocols, registered through the public hooks."""
