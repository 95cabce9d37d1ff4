"""How many predictions of each galaxy make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoobot.shared.settings import Options, setting

__all__ = ["MixtureOptions"]


@dataclass(frozen=True, kw_only=True)
class MixtureOptions(Options):
    """How many predictions of each galaxy make one: an equal mixture of dropout samples and models."""

    title: ClassVar[str] = "Several predictions of each galaxy"

    n_samples: int = setting(
        1, "more than 1: so many dropout samples for each galaxy (MC dropout)", at_least=1
    )
    ensemble: tuple[str, ...] = setting(
        (), "further models of the same task, which predict together with the first", metavar="MODEL"
    )
