"""How an engine treats memory while it predicts and trains, for the bare loops that runs are held against."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


def as_the_engine_works(name: str) -> AbstractContextManager[None]:
    """A bare loop in it treats memory as a run of that engine does."""
    return CONTEXTS[name]()


def pytorch_context() -> AbstractContextManager[None]:
    from zoobot.pytorch.devices import kept_memory

    return kept_memory()


CONTEXTS = {"pytorch": pytorch_context, "tensorflow": nullcontext}
