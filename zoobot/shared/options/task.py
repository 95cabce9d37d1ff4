"""What a guided run learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import Options, setting

__all__ = ["TargetOptions", "TaskOptions"]

_LOSSES = {
    "classification": ["cross_entropy", "focal"],
    "multi-label": ["cross_entropy", "focal"],
    "regression": ["mse", "mae", "huber"],
    "tree": [],
}


@dataclass(frozen=True, kw_only=True)
class TargetOptions(Options):
    """Which numbers are targets of a regression."""

    title: ClassVar[str] = "Task"

    missing_values: tuple[float, ...] = setting(
        (), "regression: numbers that mean that there is no value, such as -99 -999", metavar="X"
    )
    suspect_targets: Literal["refuse", "keep"] = setting(
        "refuse",
        "regression: refuse numbers that can hardly be meant (-99 far from all others, many decades), or "
        "keep them as they are",
    )


@dataclass(frozen=True, kw_only=True)
class TaskOptions(TargetOptions):
    """What is learned."""

    title: ClassVar[str] = "Task"

    task: Literal["classification", "multi-label", "regression", "tree"] | None = setting(
        None,
        "classification: one class for each galaxy; multi-label: independent yes/no columns; "
        "regression: one or more numbers; tree: volunteers' votes on a decision tree; without it, "
        "classification, unless the labels look like measurements",
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

    @property
    def kind(self) -> str:
        """The kind of task, whether it was said or not."""
        return self.task or "classification"

    @property
    def may_be_measured(self) -> bool:
        """Whether nobody said that the labels are classes."""
        told = (self.task, self.class_names, self.loss, self.class_weights)
        return all(value is None for value in told)

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.kind == "tree" and self.schema is None:
            _refuse("--task tree needs --schema: a name from `zoobot schemas`, or a .yaml file")
        if self.kind != "tree" and self.schema is not None:
            _refuse(f"--schema is for --task tree, got --task {self.kind}")
        if self.kind == "tree" and self.labels:
            _refuse("a tree's label columns are its schema's: leave out --labels")
        if self.kind != "tree" and not self.labels:
            asked = f"--task {self.kind} needs" if self.task else "there is nothing to learn yet: give"
            trees = "" if self.task else "; of a tree of votes, --task tree --schema NAME"
            _refuse(f"{asked} --labels: the column, or columns, to learn{trees}")
        if self.kind == "classification" and len(self.labels) > 1:
            _refuse(
                f"--task classification learns one column, got {list(self.labels)}; "
                "for several yes/no columns say --task multi-label"
            )
        if self.missing_values and self.kind != "regression":
            _refuse(f"--missing-values is for --task regression, got --task {self.kind}")
        self._check_loss()

    def _check_loss(self) -> None:
        classifying = self.kind in ("classification", "multi-label")
        known = _LOSSES[self.kind]
        if self.loss is not None and self.loss not in known:
            _refuse(f"--loss for --task {self.kind} must be one of {known}, got {self.loss!r}")
        if self.class_names is not None and self.kind != "classification":
            _refuse(f"--class-names is for --task classification, got --task {self.kind}")
        if self.class_weights is not None and not classifying:
            _refuse(f"--class-weights is for --task classification or multi-label, got --task {self.kind}")
        if self.class_weights and "balanced" in self.class_weights and len(self.class_weights) > 1:
            _refuse(f"--class-weights is either `balanced` or numbers, got {list(self.class_weights)}")


def _refuse(message: str) -> None:
    raise ConfigError(message)
