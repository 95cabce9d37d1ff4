"""The options of every verb: names, types, defaults, checks and help, for Python and the command line.

Each verb has a file of its name here, with the dataclass that `zoobot.workflow` takes as its one argument,
and with its words on the command line. Options that several verbs have are in `zoobot.options.groups`.

Example:
    >>> from zoobot.options import FinetuneOptions
    >>> FinetuneOptions(catalog="rings.csv", labels=("ring",), save_dir="results/rings").n_blocks
    0
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from zoobot.options.command import GROUPS, Command

__all__ = ["commands"]


def commands() -> dict[str, Command]:
    """Every command of the command line by its name, in the order of the help: whatever has a file here.

    Example:
        >>> list(commands())[:3]
        ['demo', 'finetune', 'train']
    """
    found = [module.COMMAND for module in _modules() if hasattr(module, "COMMAND")]
    return {c.name: c for c in sorted(found, key=lambda c: (list(GROUPS).index(c.group), c.name))}


def _modules() -> list[Any]:
    return [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]


def __getattr__(name: str) -> Any:
    """A class of options by its name, whichever file it is in."""
    if name.endswith("Options"):
        for module in _modules():
            if name in module.__all__:
                return getattr(module, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    names = [name for module in _modules() for name in module.__all__ if name.endswith("Options")]
    return sorted({*globals(), *names})
