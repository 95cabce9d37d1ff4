"""Images of galaxies by their positions: services of cutouts, asked politely, and what they answer."""
