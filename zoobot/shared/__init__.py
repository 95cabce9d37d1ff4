"""Everything that is not a tensor operation: imports neither torch nor tensorflow nor keras."""
