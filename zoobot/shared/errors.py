"""Every exception that Zoobot raises on purpose.

Each leaf also inherits the builtin a Python user would expect, so `except ValueError` keeps working.
A message says what was expected, what came, and what to do about it.
"""

__all__ = [
    "BusyError",
    "CatalogError",
    "CheckpointError",
    "ConfigError",
    "EncoderError",
    "EngineNotInstalledError",
    "ExportError",
    "HubError",
    "ImageError",
    "LabelError",
    "MissingPackageError",
    "NonFiniteError",
    "PredictionsError",
    "SchemaError",
    "ServiceError",
    "UnknownEngineError",
    "WriteError",
    "ZoobotError",
]


class ZoobotError(Exception):
    """Base class: `except ZoobotError` catches all that Zoobot raises on purpose."""


class SchemaError(ZoobotError, ValueError):
    """A decision tree, or a look-up in one, is not well formed."""


class LabelError(ZoobotError, ValueError):
    """Labels or votes are not what the task needs: negative counts, classes that are not integers, NaN."""


class CatalogError(ZoobotError, ValueError):
    """A catalog lacks a column, repeats an id, or names images that are not there."""


class ImageError(ZoobotError, ValueError):
    """An image file can't be turned into pixels; the message names the file and the reason."""


class ConfigError(ZoobotError, ValueError):
    """An option has a value that can't work, alone or beside another option."""


class EncoderError(ZoobotError, ValueError):
    """An encoder can't be found, built, downloaded or adapted as asked."""


class CheckpointError(ZoobotError, ValueError):
    """A checkpoint folder is incomplete, from another format, or does not fit the model."""


class ExportError(ZoobotError, RuntimeError):
    """A model can't be turned into another format, or would predict otherwise there."""


class PredictionsError(ZoobotError, ValueError):
    """A prediction table can't be written or read as asked."""


class NonFiniteError(ZoobotError, ArithmeticError):
    """A loss or prediction became NaN or infinite; the message names the galaxies."""


class WriteError(ZoobotError, OSError):
    """A file can't be written, such as on a full disk; what it was to replace is still there."""


class BusyError(ZoobotError, RuntimeError):
    """Another process works in the same place; the message says which, where, and since when."""


class HubError(ZoobotError, OSError):
    """The Hugging Face Hub can't be reached, or refuses what was asked; the message says what to do."""


class ServiceError(ZoobotError, OSError):
    """A service of images refuses what is asked, or fails too often; the message says what to do."""


class UnknownEngineError(ZoobotError, ValueError):
    """The engine asked for is none of those that Zoobot knows."""


class EngineNotInstalledError(ZoobotError, ImportError):
    """The engine asked for is known, but its framework is not installed."""


class MissingPackageError(ZoobotError, ImportError):
    """An optional package is needed for what was asked; the message says how to install it."""
