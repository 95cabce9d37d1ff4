"""Catalogs of any size: read, streamed, split, and where the image of each galaxy lies."""
