"""Lightning's Trainer, without its small talk, with one last.ckpt, and with Ctrl-C as Python knows it."""

from __future__ import annotations

import logging
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from zoobot.pytorch.kept_memory import kept_memory
from zoobot.shared.errors import CheckpointError

__all__ = ["QuietTrainer"]

logger = logging.getLogger("zoobot")

#: Lightning's warnings on what is meant to be so here.
_EXPECTED = (
    r"Checkpoint directory .* exists and is not empty",  # run.json and metrics.csv are there already
    r"Found \d+ module\(s\) in eval mode at the start of training",  # the frozen ones
    r"The '.*_dataloader' does not have many workers",  # the shared loader has its own threads
    r"You're resuming from a checkpoint that ended before the epoch ended",  # the loader goes on there
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # between torch and Lightning
)


class QuietTrainer(pl.Trainer):
    """A Trainer that says nothing a user need not know, and raises KeyboardInterrupt when interrupted.

    Args:
        **options: Those of `pytorch_lightning.Trainer`.
    """

    def __init__(self, **options: Any) -> None:
        with _quiet():
            super().__init__(**options)

    @property
    def on_cpu(self) -> bool:
        """Whether it trains on a CPU."""
        return self.strategy.root_device.type == "cpu"

    def fit(self, *arguments: Any, **options: Any) -> None:
        """Train, as `pytorch_lightning.Trainer.fit` does; `ckpt_path="last"` is the run's own last.ckpt.

        Of a last.ckpt, tensors and plain values alone are read: nothing that it says is run.

        Raises:
            CheckpointError: If a last.ckpt holds anything else.
            KeyboardInterrupt: On Ctrl-C. Lightning would end the whole process instead, notebooks included.
        """
        if options.get("ckpt_path") == "last":
            options["ckpt_path"] = self._last_checkpoint()
        try:
            with _quiet(), _signals_left_alone(), kept_memory():
                super().fit(*arguments, **{**options, "weights_only": True})
        except pickle.UnpicklingError as error:
            reason = "damaged, or asks for code to be run, which is refused"
            msg = f"last.ckpt is {reason}; start the run anew: {error}"
            raise CheckpointError(msg) from error
        except SystemExit as ending:
            if isinstance(ending.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from ending
            raise

    def _last_checkpoint(self) -> Path | None:
        path = Path(self.default_root_dir) / "last.ckpt"
        if path.exists():
            return path
        logger.warning("there is no last.ckpt in %s to go on from: the run starts anew", path.parent)
        return None


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Put the handlers of signals back: Lightning leaves Ctrl-C switched off, and others to itself."""
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGUSR1")]
    before = {number: signal.getsignal(number) for number in numbers if number is not None}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # which was not set from Python, and can't be
                    signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute Lightning's remarks on devices, products and the expected; warnings and errors stay."""
    chatter = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = chatter.level
    chatter.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        chatter.setLevel(level)
