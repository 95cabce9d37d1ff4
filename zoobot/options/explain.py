"""The options of `zoobot explain`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.options.command import Command
from zoobot.options.groups import (
    EngineOptions,
    FigureOptions,
    ImagePlaceOptions,
    ReadingOptions,
    TurnOptions,
)
from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.settings import setting


@dataclass(frozen=True, kw_only=True)
class ExplainingOptions(ReadingOptions, ImagePlaceOptions):
    """Which answer is explained, for which galaxies, and how."""

    title: ClassVar[str] = "Explanation"

    catalog: tuple[str, ...] = setting(
        MISSING,
        "table of galaxies, folder or archive of images, as for `zoobot predict`; or one image or more",
        metavar="FILE",
    )
    answer: str | None = setting(
        None,
        "a class, label or target; of a tree an answer such as bar-gz2_yes, or a question, whose most likely "
        "answer is meant; without it the most likely class or label, answer to the first question, or the "
        "only target",
        metavar="NAME",
    )
    method: tuple[Literal["integrated-gradients", "grad-cam"], ...] = setting(
        ("integrated-gradients", "grad-cam"),
        "integrated-gradients: what each pixel adds to the answer; grad-cam: the region it comes from",
    )
    baseline: Literal["black", "blurred"] = setting(
        "black",
        "what integrated gradients begin with: an empty sky, or the galaxy's light without its structure",
    )
    steps: int = setting(
        defaults.SALIENCY_STEPS,
        "integrated gradients: points between that and the image; up to four times as many where they do "
        "not add up",
        at_least=1,
    )
    n: int | None = setting(None, "most galaxies to explain, the first of the catalog", at_least=1)
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        for name in ("catalog", "method"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ConfigError(f"--{name} must be one or more, all different, got {list(given)}")


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(EngineOptions, FigureOptions, TurnOptions, ExplainingOptions):
    """Everything that `zoobot explain` can be told."""

    title: ClassVar[str] = "Model and results"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="MODEL"
    )
    save_dir: str = setting(MISSING, "folder for the pictures and the numbers", metavar="FOLDER")
    overwrite: bool = setting(False, "replace the explanations in --save-dir")


COMMAND = Command(
    name="explain",
    group="judge",
    meaning="show which pixels made a model say so",
    options=ExplainOptions,
    description="""\
Which pixels made a model say so? For each galaxy a picture of its image beside what speaks for one answer,
and against it, and the numbers behind the picture.

Integrated gradients share out the difference that the galaxy makes, beside an empty sky, over its pixels.
Grad-CAM shows, more coarsely, the region where the encoder finds something that speaks for the answer.

The folder --save-dir gets a table (explanations.csv) and, for each galaxy, explanations/ID.png and ID.npz:
the arrays integrated_gradients, which add up to value - baseline_value, and grad_cam, in the pixels of the
galaxy's own image.
""",
    epilog="""\
examples:
  zoobot explain zoobot-mini --catalog new.csv --answer has-spiral-arms-gz2_yes --save-dir results/why
  one image, or several; of a question the most likely answer
    zoobot explain zoobot-mini --catalog a.jpg b.jpg --answer bar-gz2 --save-dir results/bars
  the most likely class of each galaxy, by one method
    zoobot explain results/kinds --catalog new.csv --method grad-cam --save-dir results/why_kinds
""",
    usage="zoobot explain MODEL --catalog FILE|IMAGE … --save-dir FOLDER [options]",
    place=("checkpoint", "MODEL"),
)
