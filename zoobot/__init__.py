"""Deep learning for galaxy morphology, on PyTorch or TensorFlow."""

__version__ = "3.0.0.dev0"
