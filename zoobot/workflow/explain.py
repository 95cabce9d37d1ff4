"""The guided explanation: a model, some galaxies, and for each the pixels that made the model say so."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoobot import plots
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.image_folders import image_ids, is_fits_name, is_image_name
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.files.spreadsheets import csv_text
from zoobot.shared.files.whole import file_stems, replacing, write_safely
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.onnx.model import is_onnx_file
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.pixels.fits_images import read_fits
from zoobot.shared.pixels.locations import split_location
from zoobot.shared.pixels.web_images import is_address
from zoobot.shared.tasks import Task
from zoobot.workflow.galaxies import read_galaxies, select_galaxies
from zoobot.workflow.pictures import attempt_picture
from zoobot.workflow.predict import save_failures
from zoobot.workflow.reporting import Reported, failure_lines
from zoobot.workflow.run_folder import check_run_folder, open_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.options.explain import ExplainOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.explaining.explanations import Explanation

logger = logging.getLogger("zoobot")

_WORK = "explain"
_FOLDER = "explanations"


@dataclass(frozen=True, kw_only=True, repr=False)
class ExplainResult(Reported):
    """What an explanation made.

    Args:
        save_dir: Where everything is.
        table: A row for each galaxy: `id_str`, `file_loc`, `answer`, `value`, `baseline_value` and `error`
            of integrated gradients, and the files `picture` and `numbers`.
        not_adding_up: Galaxies whose integrated gradients miss what they share out by more than a twentieth.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`.
    """

    save_dir: Path
    table: pd.DataFrame
    not_adding_up: list[str]
    failures: pd.DataFrame

    def report(self) -> str:
        """What came out, as a text to read."""
        lines = ["", f"{len(self.table):,} galaxies explained: {self.save_dir / 'explanations'}"]
        lines += [f"  {count:>5,} × {name}" for name, count in self.table["answer"].value_counts().items()]
        if self.not_adding_up:
            few = ", ".join(self.not_adding_up[:3])
            lines.append(
                f"the parts of {len(self.not_adding_up):,} miss the whole by more than 5% (column error), "
                f"such as {few}: more --steps are more exact"
            )
        return "\n".join([*lines, *failure_lines(self.failures, self.save_dir / "failures.csv")])


def explain(options: ExplainOptions, *, command: str = "zoobot.workflow.explain") -> ExplainResult:
    """Explain an answer for each galaxy, with a picture and the numbers behind it.

    The folder gets explanations.csv, explanations/ID.png and explanations/ID.npz, whose arrays are named as
    the methods, with "_": `integrated_gradients`, (height, width, channels), and `grad_cam`, (height, width),
    in the pixels of the galaxy's own image.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the model, its answer, or the galaxies can't be used, or the folder is occupied.
    """
    folder = Path(options.save_dir).expanduser()
    check_run_folder(folder, _WORK, overwrite=options.overwrite)
    if is_onnx_file(options.checkpoint):
        msg = f"{options.checkpoint} has no gradients: explain the checkpoint that it was exported from"
        raise ConfigError(msg)
    checkpoint = find_checkpoint(options.checkpoint)
    galaxies = _find_galaxies(options)
    engine = load_engine(options.backend)
    model = engine.checkpoint.load(checkpoint)
    read_otherwise(model, options.image_changes())
    explanations = engine.saliency.explain(
        galaxies,
        model,
        answer=options.answer,
        methods=options.method,
        baseline=options.baseline,
        steps=options.steps,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        progress=options.progress,
    )
    stems = dict(zip(galaxies.ids, file_stems(galaxies.ids), strict=True))
    record = open_run(folder, _WORK, options, command=command)
    rows, not_adding_up = [], []
    with record.running():
        record.update(data={"catalog": galaxies.record()})
        logger.info("Explaining %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
        tell_pixels(model)
        for one in explanations:
            rows.append(_keep(one, folder, stems[one.id_str], model.task, options))
            if one.shared is not None and not one.shared.adds_up:
                not_adding_up.append(one.id_str)
        table = pd.DataFrame(rows)
        write_safely(folder / "explanations.csv", csv_text(table))
        failures = save_failures(explanations.failures, folder / "failures.csv")
        record.update(explained=len(table), failures=len(failures), not_adding_up=not_adding_up)
    return ExplainResult(save_dir=folder, table=table, not_adding_up=not_adding_up, failures=failures)


def _find_galaxies(options: ExplainOptions) -> Catalog:
    """The galaxies of a catalog, or the images that were given in its place."""
    are_images = [_is_image(place) for place in options.catalog]
    if not any(are_images) and len(are_images) == 1:
        galaxies = read_galaxies(options.catalog[0], options, select=options.select)
    elif not all(are_images):
        others = [place for place, image in zip(options.catalog, are_images, strict=True) if not image]
        msg = f"--catalog is one catalog, or images; of {len(are_images)} these are no images: {others[:5]}"
        raise ConfigError(msg)
    else:
        column = options.file_col[0]
        table = pd.DataFrame({options.id_col: image_ids(options.catalog), column: options.catalog})
        web = options.web_access() or False
        found = read_catalog(table, root=options.root, id_col=options.id_col, file_col=column, allow_urls=web)
        galaxies = replace(found, name=f"{len(found)} images")
        galaxies = galaxies if options.select is None else select_galaxies(galaxies, options.select)
    return galaxies if options.n is None else galaxies.select(range(min(options.n, len(galaxies))))


def _is_image(place: str) -> bool:
    """Whether it is one image, by its name; of FITS files, which may be tables, by what they hold."""
    if split_location(place)[1] is not None or is_address(place):
        return True
    if not is_image_name(place):
        return False
    if not is_fits_name(place):
        return True
    try:
        read_fits(Path(place).expanduser(), None)
    except ImageError:
        return False
    return True


def _keep(one: Explanation, folder: Path, stem: str, task: Task, options: ExplainOptions) -> dict[str, Any]:
    """Write the picture and the numbers of one galaxy; its row of the table."""
    shared = one.shared
    numbers: dict[str, Any] = {method.replace("-", "_"): map_ for method, map_ in one.maps.items()}
    numbers |= {"answer": one.answer.name, "value": one.value, "seen_left_top_side": one.seen}
    if shared is not None:
        numbers |= {"baseline_value": shared.baseline_value}
    place = folder / _FOLDER / stem
    path = place.with_name(f"{stem}.npz")
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, **numbers)
    picture = attempt_picture(place, options.figures, draw_explanation, one, task, options.baseline)
    return {
        "id_str": one.id_str,
        "file_loc": one.file_loc,
        "answer": one.answer.name,
        "value": one.value,
        "baseline_value": None if shared is None else shared.baseline_value,
        "error": None if shared is None else shared.error,
        "picture": "" if picture is None else f"{_FOLDER}/{picture.name}",
        "numbers": f"{_FOLDER}/{path.name}",
    }


def draw_explanation(one: Explanation, task: Task, baseline: str) -> Figure:
    """The picture of an explained galaxy, with its words.

    Args:
        one: The explanation.
        task: What the model predicts.
        baseline: What its integrated gradients begin with.
    """
    return plots.explained_galaxy(
        one,
        title=f"{_title(one, task)}  {task.say(one.value)}",
        captions=[one.id_str, *(_caption(method, one, task, baseline) for method in one.maps)],
    )


def _title(one: Explanation, task: Task) -> str:
    schema = task.tree
    if schema is None:
        return one.answer.name
    titles = dict(zip(schema.questions, plots.question_titles(schema), strict=True))
    question = schema.get_question(one.answer.name)
    return f"{titles[question]}: {schema.answers[one.answer.column].pretty.lower()}"


def _caption(method: str, one: Explanation, task: Task, baseline: str) -> str:
    if method == "grad-cam" or one.shared is None:
        if not one.maps.get("grad-cam", np.ones(1)).any():
            return "Grad-CAM is empty: nothing that it\nsees here speaks for this answer"
        return "Grad-CAM: where there is something\nthat speaks for it"
    begins = {"black": "an empty sky", "blurred": "the blurred image"}[baseline]
    start, end = (task.say(value) for value in (one.shared.baseline_value, one.shared.value))
    return f"Integrated gradients: what leads from {start}\n({begins}) to {end}"
