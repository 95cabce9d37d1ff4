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


def _classes() -> dict[str, type]:
    """The classes of options by their names."""
    found = [item for module in _modules() for item in vars(module).items()]
    ours = {
        name: one for name, one in found if name.endswith("Options") and one.__module__.startswith(__name__)
    }
    return {name: one for name, one in ours.items() if not name.startswith("_")}


def __getattr__(name: str) -> Any:
    """A class of options by its name, whichever file it is in."""
    if name == "__all__":  # of `import *`, which some wrote of `zoobot.shared.config`
        return ["commands", *sorted(_classes())]
    if name in (found := _classes()):
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_classes()})
