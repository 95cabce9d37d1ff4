"""Which Dask workers share a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["BATCH_SYSTEMS", "ClusterOptions"]

#: Batch systems by their names in jobqueue.yaml, and what dask-jobqueue calls their clusters.
BATCH_SYSTEMS = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Which Dask workers share a prediction."""

    title: ClassVar[str] = "Dask"

    cluster: str | None = setting(
        None,
        "a folder: share its parts among Dask workers: local (processes here), slurm, pbs … (jobs as "
        "jobqueue.yaml describes them; slurm:NAME takes its section NAME), tcp://HOST:PORT (a scheduler that "
        "runs) or its scheduler file.json",
        metavar="WHERE",
    )
    workers: int | None = setting(
        None, "so many worker processes are started; at an address, those there are used", at_least=1
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.cluster is None:
            if self.workers is not None:
                _refuse("--workers is for --cluster: local, slurm, pbs …, or a scheduler's address")
        elif self.starts_workers:
            if self.workers is None:
                _refuse(f"--cluster {self.cluster} needs --workers: how many processes to start")
        elif not self.cluster.endswith(".json") and ":" not in self.cluster:
            words = ", ".join(["local", *BATCH_SYSTEMS])
            _refuse(f"--cluster must be one of {words}, tcp://HOST:PORT or FILE.json, got {self.cluster!r}")

    @property
    def batch_system(self) -> tuple[str, str] | None:
        """The name of a batch system, and the section of jobqueue.yaml that describes the jobs."""
        system, _, section = (self.cluster or "").partition(":")
        return (system, section or system) if system in BATCH_SYSTEMS else None

    @property
    def starts_workers(self) -> bool:
        """Whether workers are started, not found."""
        return self.cluster == "local" or self.batch_system is not None


def _refuse(message: str) -> None:
    raise ConfigError(message)
