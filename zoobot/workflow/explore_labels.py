"""A page to label galaxies: which galaxies, what is asked of each, and what to do with the answers."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from zoobot.explorer import (
    Annotation,
    Contents,
    Described,
    Thumbnails,
    ask_for_class,
    ask_for_rating,
    ask_tree,
    describe_predictions,
)
from zoobot.rating.folder import is_session
from zoobot.shared import schemas, tasks
from zoobot.shared.catalog import check_columns, read_catalog
from zoobot.shared.catalogs.columns import encode_labels, read_ids
from zoobot.shared.catalogs.galaxy_files import file_columns
from zoobot.shared.catalogs.tables import read_table, typed_cells
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.pixels.web_images import WebImage
from zoobot.workflow.building import read_schema
from zoobot.workflow.explore_sources import (
    FoundResults,
    Page,
    as_preprocessing,
    choose_galaxies,
    draw_thumbnails,
    failed_pictures,
    find_results,
    holds_predictions,
    list_galaxies,
    list_predicted,
    open_catalogs,
    read_chosen,
    read_model,
)
from zoobot.workflow.galaxies import select_galaxies
from zoobot.workflow.reporting import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.options.explore import ExploreOptions
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.preprocessing import Preprocessing
    from zoobot.shared.tasks import Task

logger = logging.getLogger("zoobot")

_NEXT = "next.csv"
_LABEL = "label"


class _Source(NamedTuple):
    """The galaxies that can be labelled.

    Attributes:
        ids: All of them, in order.
        catalogs: Where their images are.
        found: Predictions of them, if there are some.
        task: That of the model, if there is one.
        reading: How it reads images.
    """

    ids: list[str]
    catalogs: list[Catalog]
    found: FoundResults | None
    task: Task | None
    reading: Preprocessing | None


def page_to_label(options: ExploreOptions, title: str, save_loc: Path) -> Page:
    """The page on which galaxies are labelled; those without a picture are left out, and told of.

    Args:
        options: Everything that can be chosen.
        title: What stands above it.
        save_loc: Where it goes; beside it goes a model's tree that is no published one.

    Raises:
        ZoobotError: If the galaxies can't be used, or nothing says what to ask.
    """
    source = _find_galaxies(options)
    annotation = _ask(options, source)
    ids = choose_galaxies(source.ids, options)
    place = {
        galaxy: path for one in source.catalogs[::-1] for galaxy, path in zip(one.ids, one.paths, strict=True)
    }
    paths = [place.get(galaxy) for galaxy in ids]
    drawn = draw_thumbnails(paths, source.reading, options, has_catalog=bool(source.catalogs))
    failures = failed_pictures(ids, paths, drawn.reasons)
    there = [row for row, picture in enumerate(drawn.pictures) if picture is not None]
    if not there:
        raise CatalogError(
            f"not one of the {len(ids):,} galaxies has a picture to label; the first, {ids[0]} "
            f"({paths[0] or 'in no catalog'}): {drawn.reasons[0]}"
        )
    if len(there) < len(ids):
        logger.warning("%s galaxies have no picture: the page is without them", f"{len(ids) - len(there):,}")
    ids = [ids[row] for row in there]
    known = list_galaxies(ids, source.catalogs, None, options)
    described = _opinion(options, source, ids)
    contents = Contents(
        title=title,
        facts=[],
        ids=ids,
        columns=[*described.columns, *known.columns],
        texts=[*described.texts, *known.texts[1:]],  # without the images' places, which may name a class
        charts=described.charts,
        thumbnails=Thumbnails([drawn.pictures[row] for row in there], [""] * len(there)),
        interval=f"{options.level:.0%} interval",
        positions=known.positions,
        annotation=annotation,
        places=known.places,
    )
    return Page(contents, len(source.ids), failures, _next_step(options, source, contents, save_loc))


def _find_galaxies(options: ExploreOptions) -> _Source:
    place = Path(options.results).expanduser()
    if options.show_model and options.checkpoint is None and not holds_predictions(place):
        raise ConfigError(
            f"--show-model needs predictions, as `zoobot predict` writes them; {place} holds none"
        )
    if holds_predictions(place) or options.show_model:
        found = find_results(options.results, checkpoint=options.checkpoint)
        catalogs = open_catalogs(found, options)
        ids = list_predicted(found, options, catalogs)
        return _Source(ids, catalogs, found, found.task, found.preprocessing)
    model = {} if options.checkpoint is None else read_model(options.checkpoint)
    task = None if model.get("task") is None else tasks.from_config(model["task"])
    listed = str(place / _NEXT) if is_session(place) else options.results
    images = options.catalog or listed
    galaxies = read_catalog(images, check_files=False, **options.catalog_arguments())
    if options.select is not None:
        galaxies = select_galaxies(galaxies, options.select)
    ids = galaxies.ids if options.catalog is None else _listed_ids(listed, set(galaxies.ids), options)
    return _Source(ids, [galaxies], None, task, as_preprocessing(model.get("preprocessing")))


def _listed_ids(listed: str, wanted: set[str], options: ExploreOptions) -> list[str]:
    """The galaxies of a list whose images another catalog has, in the list's order."""
    table = read_table(listed, text_cols=(options.id_col,))
    check_columns(table, (options.id_col,), listed, id_col=options.id_col)
    ids = [galaxy for galaxy in read_ids(table[options.id_col], listed) if galaxy in wanted]
    if not ids:
        raise CatalogError(f"{options.catalog} has none of the {len(table):,} galaxies of {listed}")
    if len(ids) < len(table):
        absent = f"{len(table) - len(ids):,}"
        logger.warning("%s galaxies of %s are not in %s: left out", absent, listed, options.catalog)
    return ids


def _ask(options: ExploreOptions, source: _Source) -> Annotation:
    """What is asked, as the options, the model or the catalog say."""
    task = source.task
    if options.annotate == "rating":
        return ask_for_rating()
    if options.annotate == "tree":
        of_model = task.tree if task is not None else None
        tree = of_model if options.schema is None else read_schema(options.schema)
        if tree is None:
            raise ConfigError("--annotate tree needs --schema: a name from `zoobot schemas`, or a .yaml file")
        return ask_tree(tree)
    has_classes = task is not None and task.predicts == "classes"
    usual = task.label_cols[0] if task is not None and has_classes and task.label_cols else _LABEL
    column = options.label_col or usual
    if column in options.file_col:
        raise ConfigError(f"--label-col {column} is what a column of the images is called")
    if options.classes:
        _refuse_changed(options.class_names())
        return ask_for_class(options.class_names(), column)
    if task is not None and has_classes:
        return ask_for_class(task.groups[0].answers, column)
    if options.label_col is None:
        raise ConfigError(
            "--annotate classes needs --classes, such as ring not-ring; or a --checkpoint that knows them, "
            "or a --label-col of the catalog that holds some"
        )
    return ask_for_class(_known_classes(source.catalogs, column), column)


def _refuse_changed(names: Sequence[str]) -> None:
    """Raise a ConfigError for names that a table would not give back as they are, as 01 gives 1."""
    for some in ([*names], *([name] for name in names)):
        read = typed_cells(pd.Series(some)).tolist()
        changed = [
            name
            for name, value in zip(some, read, strict=True)
            if isinstance(value, (bool, float)) or str(value) != name
        ]
        if changed:
            raise ConfigError(
                f"classes {changed} would be read from the file of labels as other ones, or none: give them "
                "names that no number, truth or missing value has, such as type-01"
            )


def _known_classes(catalogs: Sequence[Catalog], column: str) -> list[str]:
    """The classes of the galaxies that have one, in order."""
    names: dict[str, None] = {}
    for catalog in catalogs:
        check_columns(catalog.table, (column,), catalog.name)
        values = catalog.table[column]
        known = values[(values.notna() & (values.astype(str).str.strip() != "")).to_numpy()]
        if len(known):
            names |= dict.fromkeys(encode_labels(known.to_frame(), column)[1])
    return list(names)


def _opinion(options: ExploreOptions, source: _Source, ids: list[str]) -> Described:
    """What the model says, where it was asked for; never the labels."""
    if not options.show_model or source.found is None:
        return Described([], [], [])
    task = source.found.task
    unknown = np.full((len(ids), task.num_label_cols), np.nan)
    samples = read_chosen(source.found, ids)
    return describe_predictions(task, samples, unknown, level=options.level, kind=options.interval)


def _next_step(options: ExploreOptions, source: _Source, contents: Contents, save_loc: Path) -> str:
    """The command that takes the labels."""
    name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', contents.title)[:60] or 'galaxies'}_labels.csv"
    if options.annotate == "rating":
        is_begun = is_session(Path(options.results).expanduser())
        command = f"zoobot rate {quoted(options.results) if is_begun else 'SESSION'} --ratings {quoted(name)}"
        command += "" if is_begun else " (a new one takes --features, too, which `zoobot represent` writes)"
    else:
        command = f"zoobot finetune --catalog {quoted(name)}{_root(source.catalogs)}{_files(contents)}"
        column = "" if contents.annotation is None else contents.annotation.column
        tree = "" if column else options.schema or _tree_of_model(source, save_loc)
        command += f" --task tree --schema {quoted(tree)}" if tree else f" --labels {quoted(column)}"
        if any(isinstance(path, WebImage) for one in source.catalogs for path in one.paths):
            command += " --allow-urls"
            command += f" --url-hosts {' '.join(map(quoted, options.url_hosts))}" if options.url_hosts else ""
        command += " --save-dir results/labels"
    return f"label the galaxies in a browser, download the labels, and give: {command}"


def _tree_of_model(source: _Source, save_loc: Path) -> str:
    """The name of the model's tree, or the file that it is written to, beside the page."""
    tree = source.task.tree if source.task is not None else None
    if tree is None:
        raise ConfigError("the model has no tree")
    if tree.name in schemas.names() and schemas.get(tree.name) == tree:
        return tree.name
    path = save_loc.with_suffix(".schema.yaml")
    tree.to_yaml(path)
    return str(path)


def _files(contents: Contents) -> str:
    """How a later run finds the columns of images in several files."""
    names = [text.name for text in contents.places]
    return "" if names == ["file_loc"] else f" --file-col {' '.join(map(quoted, names))}"


def _root(catalogs: Sequence[Catalog]) -> str:
    """How a later run finds the images, where the catalog says their places from its own folder."""
    for one in catalogs:
        place = one.place
        if place is None or not len(one):
            continue
        column = file_columns(place["file_col"])[0]
        if (
            str(one.table[column].iloc[0]) == one.paths[0]
            or Path(str(one.table[column].iloc[0])).is_absolute()
        ):
            continue
        folder = Path(place["catalog"])
        root = place["root"] or (folder if folder.is_dir() else folder.parent)
        return f" --root {quoted(str(root))}"
    return ""
