"""Looking for interesting galaxies together with somebody who rates a few."""
