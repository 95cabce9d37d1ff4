"""Between galaxies and the volunteers of the Zooniverse: manifests, workflows as trees, answers as votes."""
