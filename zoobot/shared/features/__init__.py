"""What encoders make of galaxies: tables of features, their scales, projections and maps."""
