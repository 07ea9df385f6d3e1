"""Result records: their schema, reading, writing, and the store."""
