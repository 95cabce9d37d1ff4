"""From the bytes of a file to pixels: formats, containers, stretches, the warp, the cache."""
