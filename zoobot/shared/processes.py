"""Which of the processes of a run this one is, as launchers and batch systems tell it.

A rank alone tells nothing: four tasks of `srun` may be four runs. Those train together that were asked to.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

__all__ = [
    "expect_processes",
    "is_first_process",
    "is_srun_step",
    "meet_others",
    "srun_tasks",
    "tasks_together",
]

logger = logging.getLogger("zoobot")

#: Numbers that launchers set in each process, counted from 0: torch's and Lightning's.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")

_GREETING, _GO = b"zoobot ", b"go"
_LOOK_EVERY_S = 0.5
_SAY_EVERY_S = 60.0

_expected = {"devices": 1, "nodes": 1}


def expect_processes(devices: int | str, num_nodes: int) -> None:
    """Say on how many devices and machines the run that begins was asked to train; then see `tasks_together`.

    Args:
        devices: On each machine; "auto" and -1 are as many as there are.
        num_nodes: How many machines.
    """
    count = int(devices) if str(devices).isdigit() else 1
    _expected.update(devices=count, nodes=num_nodes)
    told = _number("SLURM_NTASKS", 1)
    if "WORLD_SIZE" in os.environ or told < 2 or tasks_together() > 1 or count * num_nodes > 1:
        return
    if srun_tasks() > 1:
        logger.info(
            "This is task %s of %d, each a run by itself: each needs a folder of its own. To train together, "
            "say --devices and --num-nodes",
            os.environ["SLURM_PROCID"],
            srun_tasks(),
        )
    else:
        logger.info("SLURM has room for %d tasks; without srun this is one, on one device", told)


def is_srun_step() -> bool:
    """Whether `srun` started this process; the script of `sbatch` has numbers of tasks too, and is one."""
    return "SLURM_PROCID" in os.environ and "SLURM_STEP_NUM_TASKS" in os.environ


def srun_tasks() -> int:
    """How many tasks `srun` started this process among; 1 where it did not."""
    return _number("SLURM_STEP_NUM_TASKS", 1) if is_srun_step() else 1


def tasks_together() -> int:
    """How many tasks of `srun` train together: one for each device asked for; on several machines, all."""
    tasks = srun_tasks()
    if tasks == _expected["devices"] * _expected["nodes"] or _expected["nodes"] > 1:
        return tasks
    return 1


def is_first_process() -> bool:
    """Whether this process writes the run's folder and scores its model; the others only train with it.

    Example:
        >>> is_first_process()
        True
    """
    if _number("WORLD_SIZE", 1) > 1 and any(_number(name, 0) for name in _RANKS):
        return False
    if _expected["nodes"] > 1 and _tensorflow_index():
        return False
    return tasks_together() == 1 or _number("SLURM_PROCID", 0) == 0


def meet_others(addresses: Sequence[str], index: int) -> None:
    """Wait until all processes of a cluster are there, and say which are not.

    TensorFlow, which is to start right after, waits too, but hears no signal in that time.

    Args:
        addresses: "host:port" of each process, where it will serve; the first one is asked here.
        index: Which of them this one is.
    """
    others = [number for number in range(len(addresses)) if number != index]
    logger.info(
        "Process %d of %d (%s) waits for the others: %s",
        index,
        len(addresses),
        addresses[index],
        ", ".join(addresses[number] for number in others),
    )
    if index == 0:
        _receive(addresses, set(others))
    else:
        _report_to(addresses[0], index)


def _receive(addresses: Sequence[str], missing: set[int]) -> None:
    """As the first process: let all go on when the last one has come."""
    port = int(addresses[0].rpartition(":")[2])
    told = time.monotonic()
    there: list[socket.socket] = []
    with socket.create_server(("", port), backlog=len(addresses)) as server, ExitStack() as stack:
        server.settimeout(_LOOK_EVERY_S)
        while missing:
            with suppress(OSError, ValueError):  # nobody yet, or somebody else
                visitor, _ = server.accept()
                stack.enter_context(visitor)
                visitor.settimeout(_LOOK_EVERY_S)
                missing.discard(int(visitor.recv(64).removeprefix(_GREETING)))
                there.append(visitor)
            if missing and time.monotonic() - told > _SAY_EVERY_S:
                told = time.monotonic()
                logger.info("Still waiting for %s", ", ".join(addresses[one] for one in sorted(missing)))
        for visitor in there:
            with suppress(OSError):  # one that has come twice left the first time
                visitor.sendall(_GO)


def _report_to(address: str, index: int) -> None:
    """As any other process: come to the first one, and go on when it says so."""
    host, _, port = address.rpartition(":")
    while True:
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=_LOOK_EVERY_S) as first:
            first.sendall(_GREETING + str(index).encode())
            first.settimeout(None)
            if first.recv(len(_GO)) == _GO:
                return
        time.sleep(_LOOK_EVERY_S)


def _number(name: str, default: int) -> int:
    """The whole number in a variable of the environment; what is none is not ours to judge."""
    try:
        return int(os.environ.get(name) or default)
    except ValueError:
        return default


def _tensorflow_index() -> int:
    """The index of this worker in TF_CONFIG, with which TensorFlow's clusters are described."""
    try:
        task: dict[str, Any] = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
        return int(task.get("index", 0))
    except (ValueError, AttributeError):
        return 0  # not ours to judge: TensorFlow says what is wrong with it
