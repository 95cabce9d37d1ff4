"""The pictures that a run leaves: which one fits which task, and what stands beside an example galaxy."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot import plots
from zoobot.plots import Bar, contact_sheet, save_figure
from zoobot.shared import metrics
from zoobot.shared.augment import make_view
from zoobot.shared.catalogs.cutouts import place_arguments
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.defaults import FIGURE_FORMATS
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, ServiceError
from zoobot.shared.html import escape, png_html
from zoobot.shared.pixels.images import read_image
from zoobot.shared.posteriors import fraction_intervals
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.votes import fractions_from_votes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zoobot.options.groups import ShownGalaxiesOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.pixels.web_images import WebAccess
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.tasks import Task
    from zoobot.shared.tasks.base import Mistakes

# Galaxies that have features, shown: where their images are, and pictures of some.

logger = logging.getLogger("zoobot")


def find_images(ids: Sequence[str], options: ShownGalaxiesOptions, origin: Mapping[str, Any]) -> list[str]:
    """Where the images of galaxies are, by their catalog; empty where it has none.

    Args:
        ids: The galaxies.
        options: Their catalog, if it was given.
        origin: Where their features come from: its `place` tells of a catalog, if none was given.

    Raises:
        CatalogError: If the catalog that was given can't be used, or has none of the galaxies.
    """
    galaxies = _open_catalog(options, origin)
    if galaxies is None:
        return [""] * len(ids)
    places = galaxies.find_paths(ids)
    found = [places.get(galaxy, "") for galaxy in ids]
    absent = found.count("")
    if absent == len(ids):
        msg = f"{galaxies.name} has none of the {len(ids):,} galaxies with features, such as {ids[0]!r}"
        raise CatalogError(msg)
    if absent:
        logger.warning("%s has no images of %s galaxies with features", galaxies.name, f"{absent:,}")
    return found


def draw_sheet(
    place: Path,
    formats: Sequence[str],
    file_locs: Sequence[str],
    names: Sequence[str],
    origin: Mapping[str, Any],
    *,
    columns: int = 6,
    marked: Sequence[int] = (),
    web: WebAccess | None = None,
) -> Path | None:
    """A picture of galaxies, as the network saw them; None where no image is known, or it can't be drawn.

    Args:
        place: Where, without the ending of the name.
        formats: What it is written as: the endings.
        file_locs: Their images; empty where unknown.
        names: What stands above each.
        origin: Where their features come from: its `preprocessing` says how images are read.
        columns: Galaxies side by side.
        marked: Which of them have a frame.
        web: How images at web addresses may be asked for; None where they may not.

    Raises:
        ConfigError: If that is no record of preprocessing.
    """
    if not any(file_locs):
        return None
    preprocessing = _preprocessing(origin)
    # tables hold plain texts, which nobody asks for
    views = [_view(place if web is None else web.place(place), preprocessing) for place in file_locs]
    return attempt_picture(place, formats, contact_sheet, views, names, columns=columns, marked=marked)


def _open_catalog(options: ShownGalaxiesOptions, origin: Mapping[str, Any]) -> CatalogStream | None:
    """The catalog that was given, or else that which the features are of, if it is still there."""
    if options.catalog is not None:
        return CatalogStream(options.catalog, **options.catalog_arguments())
    place = origin.get("place")
    if place is None:
        return None
    try:
        web = options.web_access() or False  # the user's word: a record never allows it
        return CatalogStream(place["catalog"], **place_arguments(place), allow_urls=web)
    except CatalogError as error:
        logger.warning("The catalog of these features can't be read any more; give --catalog: %s", error)
        return None


def _preprocessing(origin: Mapping[str, Any]) -> Preprocessing:
    """How images are read; as plain colour where the features do not say."""
    config = origin.get("preprocessing")
    if config is None:
        return Preprocessing(colour="to-rgb")
    if not isinstance(config, dict):
        raise ConfigError(f"the features say they come from the preprocessing {config!r}, which is none")
    return Preprocessing.from_config(config)


def _view(place: str, preprocessing: Preprocessing) -> np.ndarray | None:
    if not place:
        return None
    try:
        return make_view(read_image(place, preprocessing), preprocessing)
    except (ImageError, ServiceError) as error:
        logger.warning("%s", error)
        return None


_EXAMPLES = 12
_MOST_BARS = 10
_MOST_CLASSES = 6


def attempt_picture(
    place: Path, formats: Sequence[str], draw: Callable[..., Figure | None], *args: Any, **options: Any
) -> Path | None:
    """The picture that is drawn so, in its first format; None, and a warning, where it can't be.

    No run is lost for a picture.

    Args:
        place: Where it is written, without the ending of the name.
        formats: What it is written as: the endings.
        draw: Draws it; None where there is nothing to draw.
        args: What of.
        options: Likewise.

    Example:
        >>> def draw(votes):
        ...     raise ValueError("nothing to draw")
        >>> attempt_picture(Path("votes"), ["png"], draw, [])  # and a warning says so
    """
    try:
        figure = draw(*args, **options)
        written = [save_figure(figure, path) for path in picture_paths(place, formats) if figure is not None]
    except Exception as error:  # noqa: BLE001 - whatever it is, the numbers are there and the run goes on
        name = place.name.replace("_", " ")
        logger.warning("The picture of %s is left out: %s", name, str(error) or type(error).__name__)
        return None
    return written[0] if written else None


def figure_html(draw: Callable[..., Figure]) -> str:
    """A picture for a notebook; why there is none, where it can't be drawn.

    Args:
        draw: Draws it.
    """
    try:
        file = io.BytesIO()
        draw().savefig(file, format="png", dpi=100)
    except Exception as error:  # noqa: BLE001 - whatever it is, the numbers are there
        return f"<p>No picture: {escape(error)}</p>"
    return f"<div>{png_html(file.getvalue())}</div>"


def picture_paths(place: Path, formats: Sequence[str] = FIGURE_FORMATS) -> list[Path]:
    """The files of one picture: its place with each ending.

    Example:
        >>> picture_paths(Path("J0001+0.5"), ["png", "pdf"])
        [PosixPath('J0001+0.5.png'), PosixPath('J0001+0.5.pdf')]
    """
    return [place.with_name(f"{place.name}.{kind}") for kind in formats]


def draw_training_curves(log: pd.DataFrame, task: Task, *, ax: Axes | None = None) -> Figure:
    """Losses and the task's main scores by epoch; into axes that are given, the losses alone."""
    return plots.training_curves(log, scores=() if ax is not None else task.scores.by_epoch, ax=ax)


def draw_comparison(
    task: Task,
    predicted: np.ndarray,
    labels: np.ndarray,
    *,
    concentrations: np.ndarray | None = None,
    said: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The picture of predictions against labels that fits the task.

    Args:
        task: What was predicted.
        predicted: (galaxies, outputs).
        labels: (galaxies, label columns).
        concentrations: Of a tree, for intervals of its fractions; a mixture has the samples first.
        said: Scores in words by name, with their intervals.
        ax: Where to draw, instead of a figure of its own.
    """
    return _COMPARISONS[task.predicts](task, predicted, labels, concentrations, said or {}, ax)


def _compare_classes(
    task: Task, predicted: np.ndarray, labels: np.ndarray, _: object, said: Mapping[str, str], ax: Axes | None
) -> Figure:
    counts = metrics.confusion_matrix(predicted, labels[:, 0].astype(int))
    note = f"accuracy {said['accuracy']}" if "accuracy" in said else ""
    return plots.confusion_matrix(counts, task.groups[0].answers, note=note, ax=ax)


def _compare_labels(
    task: Task, predicted: np.ndarray, labels: np.ndarray, _: object, said: Mapping[str, str], ax: Axes | None
) -> Figure:
    notes = _notes("average precision", "average_precision", task, said)
    return plots.purity_completeness(predicted, labels, task.label_cols, notes=notes, ax=ax)


def _compare_numbers(
    task: Task, predicted: np.ndarray, labels: np.ndarray, _: object, said: Mapping[str, str], ax: Axes | None
) -> Figure:
    notes = _notes("RMSE", "rmse", task, said)
    return plots.regression_scatter(predicted, labels, task.label_cols, notes=notes, ax=ax)


def _notes(words: str, score: str, task: Task, said: Mapping[str, str]) -> dict[str, str]:
    """One score of each label or target, in words."""
    found = {name: said.get(f"{score}_{name}") for name in task.label_cols}
    return {name: f"{words} {text}" for name, text in found.items() if text}


def _compare_votes(
    task: Any,
    predicted: np.ndarray,
    labels: np.ndarray,
    concentrations: np.ndarray | None,
    _: object,
    ax: Axes | None,
) -> Figure:
    # the mean of a Dirichlet distribution is each concentration's share of its question
    fractions = fractions_from_votes(predicted, task.tree)
    ends = None if concentrations is None else fraction_intervals(concentrations, task.tree)
    return plots.fractions_scatter(fractions, labels, task.tree, intervals=ends, ax=ax)


_COMPARISONS: dict[str, Callable[..., Figure]] = {
    "classes": _compare_classes,
    "labels": _compare_labels,
    "numbers": _compare_numbers,
    "votes": _compare_votes,
}

#: What the picture of predictions against labels is called.
COMPARISONS = {
    "classes": "confusion_matrix",
    "labels": "purity_completeness",
    "numbers": "regression_scatter",
    "votes": "fractions_scatter",
}


def draw_examples(
    task: Task,
    preprocessing: Preprocessing,
    galaxies: Catalog,
    predicted: np.ndarray,
    *,
    seed: int,
    count: int = _EXAMPLES,
) -> Figure:
    """A picture of random galaxies, as the network sees them, beside their predictions and labels.

    Args:
        task: What was predicted.
        preprocessing: How images are read.
        galaxies: The galaxies, with labels or without.
        predicted: (galaxies, outputs).
        seed: Chooses the galaxies.
        count: Most galaxies to draw.
    """
    order = np.random.default_rng(seed).permutation(len(galaxies))[:count]
    return draw_galaxies(task, preprocessing, galaxies.select(order), predicted[order])


def draw_mistakes(
    task: Task, preprocessing: Preprocessing, galaxies: Catalog, expected: np.ndarray, mistakes: Mistakes
) -> Figure:
    """A picture of the galaxies that were predicted most wrongly, the worst first.

    Args:
        task: What was predicted.
        preprocessing: How images are read.
        galaxies: The galaxies, with labels.
        expected: What to expect of them, (galaxies, outputs).
        mistakes: How wrong that is; one of them at least.
    """
    order = np.argsort(-mistakes.size, kind="stable")[: min(_EXAMPLES, int((mistakes.size > 0).sum()))]
    names = [f"{galaxies.ids[place]}\n{mistakes.words(int(place))}".strip() for place in order]
    return draw_galaxies(task, preprocessing, galaxies.select(order), expected[order], names=names)


def draw_galaxies(
    task: Task,
    preprocessing: Preprocessing,
    galaxies: Catalog,
    predicted: np.ndarray,
    *,
    names: Sequence[str] | None = None,
) -> Figure:
    """A picture of these galaxies, as a network sees them, beside their predictions and labels.

    Args:
        task: What was predicted.
        preprocessing: How images are read.
        galaxies: The galaxies, with labels or without.
        predicted: (galaxies, outputs).
        names: What stands above each; None is its id.
    """
    labels = (
        np.full((len(galaxies), task.num_label_cols), np.nan) if galaxies.labels is None else galaxies.labels
    )
    bars = _BARS[task.predicts](task, predicted, labels)
    images, lines, titles = [], [], []
    for place in range(len(galaxies)):
        try:
            image = read_image(galaxies.paths[place], preprocessing)
        except ImageError:
            continue  # the failures table tells of it; a picture can do without
        images.append(make_view(image, preprocessing))
        lines.append(bars(place))
        titles.append(galaxies.ids[place] if names is None else names[place])
    legend = ("model", "label") if task.tree is None else ("expected vote fraction", "volunteers")
    return plots.example_galaxies(images, lines, names=titles, legend=legend)


_BarsOfGalaxy = Callable[[int], list[Bar]]


def _class_bars(task: Task, predicted: np.ndarray, labels: np.ndarray) -> _BarsOfGalaxy:
    classes = task.groups[0].answers

    def bars(galaxy: int) -> list[Bar]:
        probabilities, truth = predicted[galaxy], labels[galaxy, 0]
        likely = np.sort(np.argsort(-probabilities)[:_MOST_CLASSES])
        guess = classes[int(probabilities.argmax())]
        heading = Bar(f"predicted {guess}")
        if np.isfinite(truth):
            right = classes[int(truth)]
            mark = "✓" if right == guess else "✗"
            heading = Bar(f"{mark} predicted {guess}, labelled {right}")
        lines = [Bar(classes[k], float(probabilities[k]), 1.0 if k == truth else None) for k in likely]
        return [heading, *lines]

    return bars


def _label_bars(task: Task, predicted: np.ndarray, labels: np.ndarray) -> _BarsOfGalaxy:
    def bars(galaxy: int) -> list[Bar]:
        values = zip(task.label_cols, predicted[galaxy], labels[galaxy], strict=True)
        return [
            Bar(name, float(p), float(truth) if np.isfinite(truth) else None) for name, p, truth in values
        ]

    return bars


def _target_bars(task: Task, predicted: np.ndarray, labels: np.ndarray) -> _BarsOfGalaxy:
    """Values on a scale from the smallest to the largest of all these galaxies."""
    low = np.fmin(predicted.min(axis=0), np.nanmin(labels, axis=0, initial=np.inf))
    high = np.fmax(predicted.max(axis=0), np.nanmax(labels, axis=0, initial=-np.inf))
    span = np.where(high > low, high - low, 1.0)

    def bars(galaxy: int) -> list[Bar]:
        lines = []
        for k, name in enumerate(task.label_cols):
            guess, truth = float(predicted[galaxy, k]), float(labels[galaxy, k])
            known = np.isfinite(truth)
            mark = float((truth - low[k]) / span[k]) if known else None
            lines.append(Bar(f"{name}: label {truth:.3g}" if known else name))
            lines.append(Bar("predicted", float((guess - low[k]) / span[k]), mark, f"{guess:.3g}"))
        return lines

    return bars


def _answer_bars(task: Any, predicted: np.ndarray, labels: np.ndarray) -> _BarsOfGalaxy:
    """The questions that would probably be asked of this galaxy, as many as there is room for."""
    schema = task.tree
    fractions = fractions_from_votes(predicted, schema)
    asked = schema.probability_asked(fractions)
    titles = plots.question_titles(schema)

    def bars(galaxy: int) -> list[Bar]:
        lines: list[Bar] = []
        for k, question in enumerate(schema.questions):
            votes = np.nan_to_num(labels[galaxy, question.slice])
            if asked[galaxy, k] < 0.5 or len(lines) + 1 + len(question.answers) > _MOST_BARS:
                continue
            observed = [float(v) for v in votes / votes.sum()] if votes.sum() > 0 else [None] * len(votes)
            expected = fractions[galaxy, question.slice]
            lines.append(Bar(titles[k]))
            values = zip(question.answers, expected, observed, strict=True)
            lines += [Bar(answer.pretty, float(e), o) for answer, e, o in values]
        return lines

    return bars


_BARS: dict[str, Callable[[Any, np.ndarray, np.ndarray], _BarsOfGalaxy]] = {
    "classes": _class_bars,
    "labels": _label_bars,
    "numbers": _target_bars,
    "votes": _answer_bars,
}
