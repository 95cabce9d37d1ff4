"""Files that appear whole or not at all, arrays in them, and their names."""
