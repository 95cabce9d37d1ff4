"""The options of `zoobot calibrate`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import CatalogOptions, EngineOptions, ReadingOptions, TurnOptions
from zoobot.shared import defaults
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions(EngineOptions, TurnOptions, ReadingOptions, CatalogOptions):
    """Everything that `zoobot calibrate` can be told."""

    title: ClassVar[str] = "Calibration"

    checkpoint: str = setting(
        MISSING,
        "a trained model: the checkpoint folder, or the run's folder; it is changed",
        metavar="FOLDER",
    )
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=val", metavar="COLUMN=VALUE"
    )
    objective: Literal["auto", "likelihood", "coverage"] = setting(
        defaults.CALIBRATION_OBJECTIVE,
        "tree: fit the likelihood of the votes, the coverage of 90% intervals, or (auto) the likelihood "
        "unless that leaves the coverage off; classes and labels: always the likelihood",
    )


COMMAND = Command(
    name="calibrate",
    group="judge",
    meaning="fit how sure a trained model may be and how far it is off, on a labelled catalog",
    options=CalibrateOptions,
    epilog="""\
examples:
  zoobot calibrate results/gz2 --catalog votes.csv --select split=val
  zoobot calibrate results/rings --catalog rings.csv --select split=val

`zoobot finetune` does it by itself, on the validation galaxies. The catalog's galaxies must not have been
trained on. Only the certainty of the checkpoint's predictions changes; a tree's expected fractions stay, and
so does the most likely class. How far predictions are off is kept, too: `zoobot predict --intervals 90` makes
intervals of numbers and vote fractions, and sets of classes and labels, by it.
""",
    usage="zoobot calibrate CHECKPOINT --catalog FILE [options]",
    place=("checkpoint", "CHECKPOINT"),
)
