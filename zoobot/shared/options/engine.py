"""What computes in a guided run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoobot.shared import defaults
from zoobot.shared.engine import DEFAULT_ENGINE
from zoobot.shared.settings import Options, setting

__all__ = ["EngineOptions"]


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """What computes, and how many helpers it has."""

    title: ClassVar[str] = "Engine"

    backend: str = setting(
        DEFAULT_ENGINE, "deep-learning engine: pytorch, tensorflow, or an installed plug-in", metavar="NAME"
    )
    batch_size: int = setting(defaults.BATCH_SIZE, "galaxies in one step; less needs less memory", at_least=1)
    num_workers: int = setting(
        defaults.NUM_WORKERS, "threads that read images; results do not depend on it", at_least=0
    )
    seed: int = setting(
        defaults.SEED, "seeds weights, split, order and augmentation: same seed, same run", at_least=0
    )
    progress: bool = setting(True, "draw progress bars")
