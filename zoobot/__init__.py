"""Deep learning for galaxy morphology, on PyTorch or TensorFlow."""

from zoobot.moved import find_moved_modules
from zoobot.shared.engine import load_engine
from zoobot.version import __version__

__all__ = ["__version__", "load_engine"]

find_moved_modules()
