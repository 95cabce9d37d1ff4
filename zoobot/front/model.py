"""A model in a variable: `zoobot.load`, and what can be asked of it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zoobot.front.predicted import Explained, Predicted, unreadable
from zoobot.options.info import InfoOptions
from zoobot.options.push import PushOptions
from zoobot.shared import tasks
from zoobot.shared.catalog import Catalog, CatalogSource, read_catalog
from zoobot.shared.catalogs.given import settle
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.checkpoint import read_config
from zoobot.shared.engine import Engine, choose_engine, load_engine
from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.html import facts_html
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.models.model_places import bundled_checkpoint, bundled_names, find_checkpoint
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.predicting.members import shared_task
from zoobot.shared.predicting.run import predict_exported
from zoobot.shared.preprocessing import Preprocessing, describe_pixels
from zoobot.shared.settings import brief
from zoobot.workflow import info, push
from zoobot.workflow.info import InfoResult
from zoobot.workflow.push import PushResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from zoobot.shared.features.tables import FeatureTable
    from zoobot.shared.pixels.web_images import WebAccess
    from zoobot.shared.predicting.run import PredictKeywords, RepresentKeywords
    from zoobot.shared.schemas import Schema

logger = logging.getLogger("zoobot")

#: Galaxies from which a progress bar is drawn, unless something else is asked.
_BAR_FROM = 100
#: What says how a catalog is read.
_COLUMNS = ("root", "id_col", "file_col")
#: What says how images are read, and is no option of predictions.
_PIXELS = frozenset(field.name for field in fields(Preprocessing)) - {"views"}
_SHOWN = 8


def load(
    place: str | Path | Sequence[str | Path], *, backend: str | None = None, **pixels: Any
) -> ZoobotModel:
    """A model, ready to be asked.

    Args:
        place: The name of one that comes with Zoobot ("zoobot-mini"; `zoobot.models()` lists what there is);
            a run's folder, or a checkpoint's; `hf_hub:owner/name` or `hf_hub:owner/name@revision`; a file of
            `zoobot export` (.onnx), which needs no engine; or several of these, which predict together. An
            encoder alone, such as "imagenet-lite0" or a published one, represents, and predicts nothing.
        backend: "pytorch" or "tensorflow"; None is what the environment variable `ZOOBOT_BACKEND` says, or
            else PyTorch where it is installed.
        **pixels: How images are read otherwise than the model says, by the names of `Preprocessing`, such as
            `crop_fraction=1`.

    Raises:
        CheckpointError: If there is no such model, or it is damaged.
        EncoderError: If an encoder can't be built or downloaded.
        EngineNotInstalledError: If the engine is not installed.
        ConfigError: If several models do not predict the same, or images can't be read so.

    Example:
        >>> model = load("zoobot-mini")  # doctest: +SKIP
        >>> model.predict("galaxy.jpg").fractions()  # doctest: +SKIP
    """
    places: list[str | Path] = list(place) if isinstance(place, (list, tuple)) else [place]  # type: ignore[list-item]
    if not places or not all(isinstance(one, (str, Path)) for one in places):
        raise ConfigError(f"a model is a name, a folder or a file, or a list of these, got {brief(place)}")
    found = [_find(one) for one in places]
    needs_engine = not all(is_onnx_file(one) for one, _ in found)
    name = choose_engine(backend) if needs_engine else "onnxruntime"
    engine = load_engine(name) if needs_engine else None
    members = [_load(one, engine, is_whole=is_whole) for one, is_whole in found]
    for member in members:
        read_otherwise(member, pixels)
    return ZoobotModel(members, places, backend=name, engine=engine, pixels=pixels)


def _find(place: str | Path) -> tuple[str | Path, bool]:
    """Where a model is, and whether it is a whole one, not an encoder alone."""
    if is_onnx_file(place):
        return Path(place).expanduser(), True
    is_bundled = str(place) in bundled_names() and not Path(place).exists()
    if is_bundled and bundled_checkpoint(place) is None:
        return place, False
    folder = find_checkpoint(place)
    is_whole = (read_config(folder).get("zoobot") or {}).get("head") is not None
    return (folder, True) if is_whole else (place, False)


def _load(place: str | Path, engine: Engine | None, *, is_whole: bool) -> Any:
    if is_onnx_file(place) or engine is None:
        return OnnxModel(place)
    return engine.checkpoint.load(place) if is_whole else engine.encoders.load_encoder(str(place))


class ZoobotModel:
    """A model, or several that predict together, made by `zoobot.load`.

    What is asked of it takes galaxies in any form: an image or a list of images (arrays, pictures, NDData,
    paths), a stack of them, a folder, a pattern of paths, an archive, a table or a DataFrame
    (`zoobot.shared.catalogs.given.settle`). The same pixels give the same numbers: JPEG files are decoded
    whole here, as the arrays of their pixels are. (`zoobot predict` decodes large ones no finer than is
    needed, which is quicker, and gives numbers that differ in the second digit where an image shrinks by two
    or more.)

    Attributes:
        engine_model: The engine's own model, or exported one; of several, a list of these.
        backend: The engine's name; "onnxruntime" where it is an exported file.
        name: What was loaded.
        task: What it predicts; None of an encoder alone.
        preprocessing: How images are read; of several, by the first.
    """

    def __init__(
        self,
        members: list[Any],
        places: list[str | Path],
        *,
        backend: str,
        engine: Engine | None,
        pixels: dict[str, Any],
    ) -> None:
        self._members, self._engine, self._pixels = members, engine, pixels
        self.name = " and ".join(map(str, places))
        self._places = [_fixed(place) for place in places]  # the current folder may become another one
        self.backend = backend
        own = [getattr(member, "task", None) for member in members]
        if len(own) > 1 and None in own:
            raise ConfigError(f"an encoder alone predicts nothing, with others neither: {self.name}")
        self.task: tasks.Task | None = None if own[0] is None else shared_task([one for one in own if one])

    @property
    def engine_model(self) -> Any:
        """The engine's own model; of several, a list of them."""
        return self._members[0] if len(self._members) == 1 else self._members

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are read."""
        found: Preprocessing = self._members[0].preprocessing
        return found

    @property
    def schema(self) -> Schema | None:
        """The decision tree whose questions it answers; None if it learned something else."""
        return None if self.task is None else self.task.tree

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes or labels that it tells apart; empty of other tasks."""
        if self.task is None or self.task.predicts not in ("classes", "labels"):
            return ()
        groups = self.task.groups
        return groups[0].answers if self.task.predicts == "classes" else tuple(group.name for group in groups)

    @property
    def columns(self) -> list[str]:
        """The predicted columns of its tables."""
        return self._task().output_columns

    def predict(
        self,
        galaxies: CatalogSource,
        *,
        allow_urls: bool | WebAccess = False,
        **options: Unpack[PredictKeywords],
    ) -> Predicted:
        """What the model predicts of each galaxy.

        Args:
            galaxies: Images, or a catalog of them, in any form.
            allow_urls: Whether images may lie at web addresses, which are then asked for; as for
                `read_catalog`.
            **options: Those of the engines' `predict`: `n_samples`, `views`, `batch_size`, `num_workers`,
                `progress` (by default from 100 galaxies on), `save_loc`, `id_col`, `file_col`, `root` …;
                `intervals=90` adds intervals or sets, `columns=["ra", "dec"]` those of the catalog.

        Returns:
            The predictions: `.table` as `zoobot predict` writes it (of a tree, concentrations; `.fractions()`
            has vote fractions and their intervals), `.failures`, `len()`, rows to iterate over, columns by
            `[name]`. In a notebook, pictures of the first galaxies with bars.

        Raises:
            CatalogError: If galaxies are given in no form that we know, or a catalog can't be used.
            ImageError: If not one image could be read.
            ConfigError: If an option can't work.
        """
        task = self._task()
        catalog = self._read(galaxies, options, allow_urls)
        found = self._predict(catalog, options)
        return Predicted(found, galaxies=catalog, task=task, preprocessing=self.preprocessing)

    def stream(
        self,
        galaxies: CatalogSource,
        *,
        rows: int = 1000,
        allow_urls: bool | WebAccess = False,
        **options: Unpack[PredictKeywords],
    ) -> Iterator[pd.DataFrame]:
        """The predictions of a long catalog, a part after the other: memory holds one part.

        Args:
            galaxies: As for `predict`. That images are there is not looked at before their turn comes.
            rows: Galaxies in a part.
            allow_urls: As for `predict`.
            **options: As for `predict`.

        Yields:
            Tables as `predict` gives them; `attrs["failures"]` lists what could not be read, as dictionaries.

        Raises:
            CatalogError: As for `predict`, and so are others.
            ImageError: If not one image of the first part could be read. Later, bad images end nothing.

        Example:
            >>> for part in model.stream("survey.parquet"):  # doctest: +SKIP
            ...     part.to_sql("predictions", database, if_exists="append")
        """
        if type(rows) is not int or rows < 1:
            raise ConfigError(f"rows must be a whole number of at least 1, got {rows!r}")
        if options.get("save_loc") is not None:
            raise ConfigError("stream gives tables, and writes none: leave save_loc out, or use predict")
        self._task()
        self._refuse_pixels(options)
        taken = {**_taken(options), "allow_urls": allow_urls}
        parts = _parts(galaxies, rows, taken, options.get("columns", ()))
        return self._stream(parts, {"progress": False, **options})

    def _stream(self, parts: Iterator[Catalog], options: PredictKeywords) -> Iterator[pd.DataFrame]:
        table: pd.DataFrame | None = None
        for part in parts:
            try:
                found = self._predict(part, options)
                table, failures = found.table, found.failures
            except ImageError:
                failures = unreadable(part, self.preprocessing)
                if table is None or len(failures) < len(part):
                    raise
                table = table.iloc[:0].copy()
            if len(failures):
                words = "%s of %s images could not be read; the first: %s: %s"
                first = failures.iloc[0]
                logger.warning(words, len(failures), len(part), first.file_loc, first.reason)
            table.attrs["failures"] = failures.to_dict("records")
            yield table

    def represent(
        self,
        galaxies: CatalogSource,
        *,
        allow_urls: bool | WebAccess = False,
        **options: Unpack[RepresentKeywords],
    ) -> FeatureTable:
        """What the encoder makes of each galaxy: `.ids` and `.features`, (galaxies, width).

        Args:
            galaxies: Images, or a catalog of them, in any form.
            allow_urls: As for `predict`.
            **options: Those of the engines' `represent`: `block`, `views`, `batch_size`, `save_loc` …

        Raises:
            ConfigError: If this is an exported file, or several models; or an option can't work.
            CatalogError: As for `predict`.
            ImageError: As for `predict`.
        """
        engine, model = self._alone("represent")
        catalog = self._read(galaxies, options, allow_urls)
        return engine.represent.represent(catalog, model, **options)

    def explain(
        self,
        galaxies: CatalogSource,
        answer: str | None = None,
        *,
        allow_urls: bool | WebAccess = False,
        **options: Any,
    ) -> Explained:
        """Which pixels made the model say so, of each of a few galaxies, all of which are held in memory.

        Args:
            galaxies: Images, or a catalog of them, in any form.
            answer: A class, label, target, or a tree's answer or question; None is the likeliest of all.
            allow_urls: As for `predict`.
            **options: Those of the engines' `explain`: `methods`, `baseline`, `steps`, `batch_size` …

        Returns:
            Explanations, each with its `maps`, and `figure`, the picture of the first.

        Raises:
            ConfigError: If the model has no such answer, or this is an exported file, or several models.
            CatalogError: As for `predict`.
            ImageError: As for `predict`.
        """
        task = self._task()
        engine, model = self._alone("explain")
        catalog = self._read(galaxies, options, allow_urls)
        found = engine.saliency.explain(catalog, model, answer=answer, **options)
        return Explained(list(found), found.failures, task, options.get("baseline", "black"))

    def info(self) -> InfoResult:
        """What the checkpoint says of itself, as `zoobot info` prints it: encoder, task, pixels, training.

        Raises:
            CheckpointError: If it is no longer there.
        """
        if self.task is None:
            facts = [f"{name:<13} {words}" for name, words in self._facts().items() if words]
            return InfoResult(text="\n".join(facts))
        texts = [info(InfoOptions(checkpoint=str(place))).text for place in self._places]
        return InfoResult(text="\n\n".join(texts))

    def save(self, folder: str | Path) -> Path:
        """Write the model as a checkpoint folder, which both engines load, and return its path.

        Args:
            folder: Where; a checkpoint there is replaced, other files are not.

        Raises:
            ConfigError: If this is an exported file, an encoder alone, or several models.
            CheckpointError: If the folder holds something else.
            WriteError: If it can't be written.
        """
        self._task()
        engine, model = self._alone("save")
        training = (read_config(find_checkpoint(self._places[0])).get("zoobot") or {}).get("training")
        return engine.checkpoint.save(model, folder, training=training)

    def push_to_hub(self, name: str, **options: Any) -> PushResult:
        """Send the checkpoint that was loaded to the Hugging Face Hub, with a card written from its run.

        Args:
            name: The repository, owner/name.
            **options: Those of `zoobot push`: `private`, `revision`, `message`, `license`, `dry_run` …

        Raises:
            ConfigError: If the name is none of the Hub's, this is an exported file or several models, or it
                was loaded to read images in another way than the checkpoint says.
            CheckpointError: If no name can rebuild the model.
            HubError: If the Hub can't be reached, or refuses.
        """
        self._task()
        self._alone("push_to_hub")
        if self._pixels:
            raise ConfigError(
                f"the model was loaded with {', '.join(self._pixels)}, which its checkpoint does not know: "
                "save it into a folder, load that, and send it"
            )
        return push(PushOptions.from_config({"checkpoint": str(self._places[0]), "to": name, **options}))

    def _task(self) -> tasks.Task:
        if self.task is None:
            raise ConfigError(
                f"{self.name} is an encoder alone: it represents galaxies, and predicts nothing until a head "
                f"is trained on it (zoobot finetune --encoder {self.name})"
            )
        return self.task

    def _alone(self, work: str) -> tuple[Engine, Any]:
        """The engine and the one model of it, for what neither several models nor a file can do."""
        if len(self._members) > 1:
            raise ConfigError(f"{work} takes one model, and this is {len(self._members)}: load one of them")
        if self._engine is None:
            raise ConfigError(
                f"{self.name} is an exported file, which predicts and does nothing else: load the checkpoint "
                f"that it was exported from for {work}"
            )
        return self._engine, self._members[0]

    def _refuse_pixels(self, options: Any) -> None:
        """Raise a ConfigError if an option says how images are read, which the model knows already."""
        pixels = [name for name in options if name in _PIXELS]
        if pixels:
            given = ", ".join(f"{name}={options[name]!r}" for name in pixels)
            raise ConfigError(
                f"how images are read is said when a model is loaded: zoobot.load({self.name!r}, {given})"
            )

    def _read(self, galaxies: CatalogSource, options: Any, allow_urls: bool | WebAccess) -> Catalog:
        """The catalog, whose images are the same in any form; options lose what it was read by."""
        self._refuse_pixels(options)
        catalog = read_catalog(galaxies, allow_urls=allow_urls, **_taken(options)).decoded_whole()
        options.setdefault("progress", len(catalog) >= _BAR_FROM)
        return catalog

    def _predict(self, catalog: Catalog, options: PredictKeywords) -> Any:
        options = {"class_column": True, **options}  # as zoobot predict writes it
        if self._engine is not None:
            return self._engine.predict.predict(catalog, self._members, **options)
        known = inspect.signature(predict_exported).parameters
        others = [name for name in options if name not in known]
        if others:
            raise ConfigError(f"exported files predict without {', '.join(others)}: leave them out")
        return predict_exported(catalog, self._members, **options)  # type: ignore[misc]

    def _facts(self) -> dict[str, str]:
        """What there is to know of it, in words by name."""
        task, encoder = self.task, getattr(self._members[0], "encoder", self._members[0])
        origin: Origin | None = getattr(encoder, "origin", None)
        facts = {
            "task": "none: an encoder alone" if task is None else task.kind,
            "schema": "" if self.schema is None else self.schema.name,
            "predicts": "" if task is None or self.classes else _few([group.name for group in task.groups]),
            "classes": _few(self.classes),
            "encoder": getattr(encoder, "architecture", ""),
            "started from": origin.encoder if origin else "",
            "engine": self.backend,
            "models": str(len(self._members)) if len(self._members) > 1 else "",
        }
        return facts | {"pixels": _pixels_in_words(self.preprocessing), "scores": self._scores()}

    def _scores(self) -> str:
        from zoobot.front.listing import scores_in_words  # late: it lists models, of which this is one

        return scores_in_words(self._places[0]) if len(self._places) == 1 else ""

    def __repr__(self) -> str:
        kind = "an encoder alone" if self.task is None else self.task.kind
        what = kind if self.schema is None else f"{kind} {self.schema.name}"
        encoder = getattr(self._members[0], "encoder", self._members[0])
        architecture = getattr(encoder, "architecture", "exported")
        return f"ZoobotModel({self.name!r}: {what}; {architecture}, {self.backend})"

    def _repr_html_(self) -> str:
        return facts_html(self.name, self._facts())


def _taken(options: Any) -> dict[str, Any]:
    """What says how a catalog is read, taken from the options."""
    return {name: options.pop(name) for name in _COLUMNS if name in options}


def _parts(
    galaxies: CatalogSource, rows: int, columns: dict[str, Any], carried: Sequence[str]
) -> Iterator[Catalog]:
    """A catalog in parts of so many galaxies, of which only one is in memory, unless all are anyway."""
    named = {name: columns[name] for name in ("id_col", "file_col") if name in columns}
    source = settle(galaxies, **named)
    if isinstance(source, Catalog):
        source = read_catalog(source, allow_urls=columns["allow_urls"])
        starts = range(0, len(source), rows)
        return (source.select(range(k, min(k + rows, len(source)))).decoded_whole() for k in starts)
    stream = CatalogStream(source, **columns)
    stream.part_rows = rows
    stream.carry(carried)
    return (part.galaxies.decoded_whole() for part in stream.parts(rows))


def _fixed(place: str | Path) -> str | Path:
    """A file or folder from the root; a name as it is."""
    path = Path(place).expanduser()
    return path.absolute() if path.exists() else place


def _few(names: Sequence[str]) -> str:
    more = f" … {len(names)} in all" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _pixels_in_words(preprocessing: Preprocessing) -> str:
    lines = describe_pixels(preprocessing).splitlines()[1:]
    return "\n".join(" ".join(line.split()) for line in lines)
