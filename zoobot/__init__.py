"""Deep learning for galaxy morphology, on PyTorch or TensorFlow."""

from zoobot.shared.engine import load_engine

__all__ = ["__version__", "load_engine"]

__version__ = "3.0.0.dev0"
