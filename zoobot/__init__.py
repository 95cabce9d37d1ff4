"""Deep learning for galaxy morphology, on PyTorch or TensorFlow."""

from zoobot.shared.engine import load_engine
from zoobot.version import __version__

__all__ = ["__version__", "load_engine"]
