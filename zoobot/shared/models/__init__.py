"""What a model is, whatever the engine: names, sources, weights, and the pixels that it was made for."""
