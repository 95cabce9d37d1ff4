"""Import of packages that the base install does without."""

from __future__ import annotations

import importlib
from typing import Any

from zoobot.shared.errors import MissingPackageError

__all__ = ["import_optional"]


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
