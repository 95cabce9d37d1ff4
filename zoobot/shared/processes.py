"""Which of the processes of a run this one is, as launchers and batch systems tell it."""

from __future__ import annotations

import json
import os

__all__ = ["is_first_process"]

#: Numbers that launchers set in each process, counted from 0: torch's, Lightning's, SLURM's.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this process writes the run's folder and scores its model; the others only train with it.

    Example:
        >>> is_first_process()
        True
    """
    ranks = [os.environ.get(name, "0") for name in _RANKS]
    return all(rank == "0" for rank in ranks) and _tensorflow_index() == 0


def _tensorflow_index() -> int:
    """The index of this worker in TF_CONFIG, with which TensorFlow's clusters are described."""
    try:
        return int(json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0))
    except (ValueError, AttributeError):
        return 0  # not ours to judge: TensorFlow says what is wrong with it
