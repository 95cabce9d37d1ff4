"""A prediction run, batch by batch: its models, its samples, its limits, the formats of its table."""
