"""The demo: a simulated survey from images and votes to a trained model and its predictions, offline."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.options.finetune import FinetuneOptions
from zoobot.options.predict import PredictOptions
from zoobot.shared.counting_bar import CountingBar, duration
from zoobot.shared.engine import DEFAULT_ENGINE, load_engine
from zoobot.shared.errors import ConfigError
from zoobot.simulate import simulate_survey
from zoobot.workflow.finetune import TrainingResult, finetune
from zoobot.workflow.predict import PredictResult, predict
from zoobot.workflow.reporting import Reported, backend_words, quoted
from zoobot.workflow.run_folder import read_record

if TYPE_CHECKING:
    from zoobot.options.demo import DemoOptions

logger = logging.getLogger(__name__)

_SCHEMA = "gz_decals_dr5"
_NEW_GALAXIES = 60
_VOLUNTEERS = 40
_DROPOUT_PROB = 0.2  # a thousand galaxies and a dozen epochs leave little to overfit with


@dataclass(frozen=True, kw_only=True, repr=False)
class DemoResult(Reported):
    """What the demo made.

    Args:
        save_dir: The folder of everything.
        catalog: The simulated, labelled survey.
        training: The finetuning run on it.
        new_catalog: Simulated galaxies that the model had never met.
        predictions: What it predicts for them.
        seconds: How long it all took.
        backend: The engine that it ran on.
    """

    save_dir: Path
    catalog: Path
    training: TrainingResult
    new_catalog: Path
    predictions: PredictResult
    seconds: float
    backend: str = DEFAULT_ENGINE

    def report(self) -> str:
        """What came out, as a text to read."""
        folder, backend = self.save_dir, backend_words(self.backend)
        training, ending = folder / "training", self.training.figures[0]
        made = {
            f"{training}/predictions.{ending}": "galaxies, what the model expects, what volunteers said",
            f"{training}/fractions_scatter.{ending}": "predicted against volunteers' vote fractions",
            f"{training}/training_curves.{ending}": "how it learned",
            f"{training}/evaluation.txt": "the table above",
            f"{training}/checkpoint/": "the model",
            str(self.predictions.save_loc): f"predictions for {self.predictions.galaxies} new galaxies",
        }
        width = max(map(len, made))
        return "\n".join(
            [
                "",
                self.training.evaluation.table,
                "",
                f"Done in {duration(self.seconds)}. Open these:",
                *(f"  {path:<{width}}  {meaning}" for path, meaning in made.items()),
                "",
                "Next, on the same simulated galaxies: which have a ring? This starts from the model just "
                "trained.",
                f"  zoobot finetune --catalog {quoted(self.catalog)} --labels ring "
                f"--encoder {quoted(folder / 'training')} --save-dir results/rings{backend}",
                "With your own: a CSV file with the columns id_str, file_loc and a label.",
                f"  zoobot finetune --catalog mine.csv --labels my_label --save-dir results/mine{backend}",
            ]
        )


def demo(options: DemoOptions, *, command: str = "zoobot.workflow.demo") -> DemoResult:
    """Simulate a survey, finetune on its volunteers' votes, score, and predict new galaxies, all offline.

    Args:
        options: Sizes and places.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the folder is occupied, or the engine or the encoder can't be had.
    """
    start = time.monotonic()
    folder = Path(options.save_dir).expanduser()
    load_engine(options.backend)  # to find it missing after a minute of simulation would be late
    logger.info("Simulating %d galaxies, and %d volunteers who look at each", options.n_galaxies, _VOLUNTEERS)
    catalog = _simulate(folder / "survey", options, options.n_galaxies, options.seed)
    new_catalog = _simulate(folder / "new_galaxies", options, _NEW_GALAXIES, options.seed + 1)
    names = ("backend", "batch_size", "num_workers", "seed", "progress")
    shared: dict[str, Any] = {name: getattr(options, name) for name in names}
    training = finetune(
        FinetuneOptions(
            catalog=str(catalog),
            task="tree",
            schema=_SCHEMA,
            save_dir=str(folder / "training"),
            overwrite=read_record(folder / "training") is not None,
            encoder=options.encoder,
            image_size_pix=options.image_size_pix,
            n_blocks=options.n_blocks,
            max_epochs=options.max_epochs,
            learning_rate=options.learning_rate,
            dropout_prob=_DROPOUT_PROB,
            test_fraction=0.2,
            figures=options.figures,
            **shared,
        ),
        command=command,
    )
    if training is None:
        raise ConfigError("the demo runs in one process; start it without a launcher of several")
    predictions = predict(
        PredictOptions(
            catalog=str(new_catalog),
            checkpoint=str(training.checkpoint),
            save_loc=str(folder / "new_galaxies_predictions.parquet"),
            overwrite=True,
            **shared,
        ),
        command=command,
    )
    return DemoResult(
        save_dir=folder,
        catalog=catalog,
        training=training,
        new_catalog=new_catalog,
        predictions=predictions,
        seconds=time.monotonic() - start,
        backend=options.backend,
    )


def _simulate(folder: Path, options: DemoOptions, n_galaxies: int, seed: int) -> Path:
    with CountingBar("Simulating galaxies", n_galaxies, unit="galaxies", shown=options.progress) as bar:
        return simulate_survey(
            folder,
            n_galaxies=n_galaxies,
            image_size_pix=options.image_size_pix,
            seed=seed,
            schema=_SCHEMA,
            volunteers=_VOLUNTEERS,
            num_workers=max(1, options.num_workers),
            on_galaxy=bar.advance,
        )
