"""Imports that need care: packages that the base install does without, and the one order that matters."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any

from zoobot.shared.errors import ConfigError, MissingPackageError

__all__ = ["import_optional", "must_load_triton", "refuse_late_triton"]


# Import of packages that the base install does without.


def import_optional(module: str, *, needed_for: str, package: str = "") -> Any:
    """The imported module, or an error that says how to install it.

    Args:
        module: What to import, such as `"astropy.table"`.
        needed_for: What the user asked for, such as `"reading FITS tables"`.
        package: The name to give to pip, where it is not the first part of `module`.

    Returns:
        The module.

    Raises:
        MissingPackageError: If the package is not installed.

    Example:
        >>> import_optional("json", needed_for="reading configurations").loads("[1]")
        [1]
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != top:
            raise  # the package is here, but something that it imports is not
        msg = f"{needed_for} needs the package {package or top!r}: pip install {package or top}"
        raise MissingPackageError(msg) from error


def must_load_triton() -> bool:
    """Whether triton should be imported now, before TensorFlow is: it is installed, and there is still time.

    Example:
        >>> must_load_triton() in (True, False)
        True
    """
    waiting = "triton" not in sys.modules and sys.modules.get("tensorflow") is None
    return waiting and find_spec("triton") is not None


def refuse_late_triton() -> None:
    """Raise where triton can no longer be imported, for those whose framework will import it sooner or later.

    Raises:
        ConfigError: If TensorFlow was imported before triton, and triton is installed.
    """
    late = "triton" not in sys.modules and sys.modules.get("tensorflow") is not None
    if late and find_spec("triton") is not None:
        raise ConfigError(
            "TensorFlow was imported before triton, which PyTorch will need: loaded in that order, they end "
            "the process. Start Python again and import zoobot.pytorch (or triton) before tensorflow"
        )
