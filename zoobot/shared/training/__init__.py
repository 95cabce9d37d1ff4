"""What both engines decide alike when a model learns: blocks, heads, checks, epochs, logs."""
