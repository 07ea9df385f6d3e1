"""Results as rows, tables and data frames."""
