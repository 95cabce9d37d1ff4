"""Which galaxies to label next: scores, diversity, strategies, lists with reasons."""
