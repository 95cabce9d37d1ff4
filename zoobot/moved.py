"""Public modules go on working under the names that they had: an import of the old one gives the new one."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["MOVED", "find_moved_modules"]

#: Module or package as it was called → as it is called now.
MOVED = {
    "zoobot.shared.acquisition": "zoobot.choosing.acquisition",
    "zoobot.shared.certainty": "zoobot.certainty",
    "zoobot.shared.choosing": "zoobot.choosing",
    "zoobot.shared.config": "zoobot.options",
    "zoobot.shared.explorer": "zoobot.explorer",
    "zoobot.shared.images": "zoobot.shared.pixels.images",
    "zoobot.shared.options": "zoobot.options",
    "zoobot.shared.plots": "zoobot.plots",
    "zoobot.shared.rating": "zoobot.rating",
    "zoobot.shared.similarity": "zoobot.similarity",
    "zoobot.shared.simulate": "zoobot.simulate",
    "zoobot.shared.training.galaxy_data": "zoobot.shared.galaxy_data",
    "zoobot.shared.trees.posterior_tables": "zoobot.shared.predicting.posterior_tables",
    "zoobot.shared.trees.predictive_votes": "zoobot.shared.posteriors",
}


def find_moved_modules() -> None:
    """Let imports find what has moved; called once, when Zoobot is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("zoobot.shared."):  # it is asked for every module that anybody imports
            return None
        fitting = [old for old in MOVED if fullname == old or fullname.startswith(f"{old}.")]
        if not fitting:
            return None
        old = max(fitting, key=len)
        now = MOVED[old] + fullname[len(old) :]
        # groups of options had files of their own
        return ModuleSpec(fullname, _Loader("zoobot.options" if old == "zoobot.shared.options" else now))


class _Loader(Loader):
    """Gives the module that is there, once, under its new name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module by its new name."""
        warnings.warn(f"{spec.name} is {self.name} now", DeprecationWarning, stacklevel=2)
        try:
            module = import_module(self.name)
        except ModuleNotFoundError as error:
            if error.name != self.name:
                raise
            raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name) from error
        self.own: dict[str, Any] = {name: getattr(module, name, None) for name in ("__spec__", "__loader__")}
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run; what importing it by the old name wrote over is given back."""
        for name, value in self.own.items():
            setattr(module, name, value)
