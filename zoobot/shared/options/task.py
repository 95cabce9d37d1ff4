"""What a guided run learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["TaskOptions"]

_LOSSES = {
    "classification": ["cross_entropy", "focal"],
    "multi-label": ["cross_entropy", "focal"],
    "regression": ["mse", "mae", "huber"],
    "tree": [],
}


@dataclass(frozen=True, kw_only=True)
class TaskOptions(Options):
    """What is learned."""

    title: ClassVar[str] = "Task"

    task: Literal["classification", "multi-label", "regression", "tree"] = setting(
        "classification",
        "classification: one class for each galaxy; multi-label: independent yes/no columns; "
        "regression: one or more numbers; tree: volunteers' votes on a decision tree",
    )
    labels: tuple[str, ...] = setting(
        (), "label column, or several; a tree takes its columns from the schema", metavar="COLUMN"
    )
    schema: str | None = setting(
        None, "decision tree: a name from `zoobot schemas`, or your own .yaml", metavar="NAME"
    )
    legacy_schema: bool = setting(False, "use the tree's dependencies as once published, errors included")
    class_names: tuple[str, ...] | None = setting(
        None, "names of classes 0, 1, …; labels that are text name themselves", metavar="NAME"
    )
    loss: Literal["cross_entropy", "focal", "mse", "mae", "huber"] | None = setting(
        None, "classification: cross_entropy or focal; regression: mse, mae or huber; without it, the first"
    )
    label_smoothing: float = setting(
        defaults.LABEL_SMOOTHING,
        "classification: share of certainty given to the other classes",
        at_least=0,
        below=1,
    )
    class_weights: tuple[float | Literal["balanced"], ...] | None = setting(
        None,
        "classification: one weight for each class, or `balanced` for rare classes to count as much",
        metavar="W",
    )
    focal_gamma: float = setting(
        defaults.FOCAL_GAMMA, "focal loss: how strongly easy galaxies are played down", at_least=0
    )
    unit_interval: bool = setting(False, "regression: targets lie in [0, 1], and predictions stay there")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.task == "tree" and self.schema is None:
            _refuse("--task tree needs --schema: a name from `zoobot schemas`, or a .yaml file")
        if self.task != "tree" and self.schema is not None:
            _refuse(f"--schema is for --task tree, got --task {self.task}")
        if self.task == "tree" and self.labels:
            _refuse("a tree's label columns are its schema's: leave out --labels")
        if self.task != "tree" and not self.labels:
            _refuse(f"--task {self.task} needs --labels: the column, or columns, to learn")
        if self.task == "classification" and len(self.labels) > 1:
            _refuse(
                f"--task classification learns one column, got {list(self.labels)}; "
                "for several yes/no columns say --task multi-label"
            )
        self._check_loss()

    def _check_loss(self) -> None:
        classifying = self.task in ("classification", "multi-label")
        known = _LOSSES[self.task]
        if self.loss is not None and self.loss not in known:
            _refuse(f"--loss for --task {self.task} must be one of {known}, got {self.loss!r}")
        if self.class_names is not None and self.task != "classification":
            _refuse(f"--class-names is for --task classification, got --task {self.task}")
        if self.class_weights is not None and not classifying:
            _refuse(f"--class-weights is for --task classification or multi-label, got --task {self.task}")
        if self.class_weights and "balanced" in self.class_weights and len(self.class_weights) > 1:
            _refuse(f"--class-weights is either `balanced` or numbers, got {list(self.class_weights)}")


def _refuse(message: str) -> None:
    raise ConfigError(message)
