"""Galaxies and their images from the sky: services of cutouts, asked politely, and sources found in tiles."""
