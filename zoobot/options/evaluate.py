"""The options of `zoobot evaluate`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.options.finetune import TargetOptions
from zoobot.options.groups import CatalogOptions, MixtureOptions, ReadingOptions, ScoreOptions, TurnOptions
from zoobot.shared.pixels.degraded import OWN_REDSHIFT, Degradation, DegradationKind, plan_degradations
from zoobot.shared.settings import Options, refuse, setting


@dataclass(frozen=True, kw_only=True)
class DegradeOptions(Options):
    """How images are made worse, to see how far a model holds."""

    title: ClassVar[str] = "How far the model holds"

    degrade: tuple[DegradationKind, ...] = setting(
        (),
        "score the galaxies again with images made worse, and draw the curves. noise: until the sky scatters "
        "N times as much as it does; psf: blurred to a FWHM of N pixels, the sky as noisy as before; "
        "redshift: moved from --own-redshift to N: smaller, and fainter by (1+z)^4 for each area, under the "
        "same sky (pixel values stand for light; no change of colour, nor evolution); jpeg: of quality N; "
        "rotation: turned by N degrees. All as the images are read, before crop and size; each step costs "
        "another prediction of all galaxies",
    )
    degrade_steps: tuple[float, ...] = setting(
        (), "the steps N of --degrade, of one kind; without it, four of each kind"
    )
    own_redshift: float = setting(
        OWN_REDSHIFT, "--degrade redshift: the redshift that the galaxies are taken to have", above=0
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        self.degradations(0)

    def degradations(self, seed: int) -> list[Degradation]:
        """What is done to the images, one after the other."""
        return plan_degradations(self.degrade, self.degrade_steps, seed=seed, own_redshift=self.own_redshift)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(
    ScoreOptions,
    MixtureOptions,
    TurnOptions,
    TargetOptions,
    ReadingOptions,
    DegradeOptions,
    CatalogOptions,
):
    """Everything that `zoobot evaluate` can be told."""

    title: ClassVar[str] = "Evaluation"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="FOLDER"
    )
    save_dir: str = setting(MISSING, "folder for scores, predictions and pictures", metavar="FOLDER")
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )
    exclude_trained: bool = setting(
        False,
        "leave out galaxies that taught the model: those it was trained on, and those that chose its best "
        "epoch and its calibration; its checkpoint knows them by their ids",
    )
    compare: tuple[str, ...] = setting(
        (),
        "other models of the same task: by how much the scores differ on the same galaxies, and whether that "
        "can be told",
        metavar="MODEL",
    )
    overwrite: bool = setting(False, "replace the evaluation in --save-dir")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.compare and not self.bootstrap:
            refuse("--compare needs resamples to tell a difference from chance: leave out --bootstrap 0")
        if len(set(self.compare)) < len(self.compare):
            refuse(f"--compare must name different models, got {list(self.compare)}")


COMMAND = Command(
    name="evaluate",
    group="judge",
    meaning="score a trained model on a labelled catalog",
    options=EvaluateOptions,
    epilog="""\
examples:
  zoobot evaluate results/rings --catalog rings.csv --save-dir results/rings_test
  zoobot evaluate results/rings --catalog rings.csv --select split=test --save-dir results/rings_test
  several models, or dropout samples, as one equal mixture
    zoobot evaluate results/a --ensemble results/b --catalog rings.csv --save-dir results/both_test
    zoobot evaluate results/a --n-samples 10 --catalog rings.csv --save-dir results/dropout_test
  how far the model holds where images are worse
    zoobot evaluate results/rings --catalog rings.csv --save-dir results/worse --degrade noise psf redshift
    zoobot evaluate results/rings --catalog rings.csv --save-dir worse --degrade psf --degrade-steps 1 2 3
  is one model better than another?
    zoobot evaluate results/a --compare results/b --catalog rings.csv --save-dir results/a_and_b
""",
    usage="zoobot evaluate CHECKPOINT --catalog FILE --save-dir FOLDER [options]",
    place=("checkpoint", "CHECKPOINT"),
)
