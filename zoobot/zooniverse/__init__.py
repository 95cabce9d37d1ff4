"""Between galaxies and the volunteers of the Zooniverse: their workflows as trees, their answers as votes."""
