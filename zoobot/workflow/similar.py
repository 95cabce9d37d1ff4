"""The guided search for more galaxies like some: features, an index, lists and a picture."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd

from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.image_folders import image_ids
from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import replacing
from zoobot.shared.models.neutral import encoder_for_pixels
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.pixels.locations import SEPARATOR
from zoobot.shared.pixels.web_images import is_address
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.destination import free_list
from zoobot.shared.tables.part_folder import PartFolder
from zoobot.similarity import SimilarityIndex, open_index
from zoobot.workflow.pictures import draw_sheet, find_images
from zoobot.workflow.reporting import Reported
from zoobot.workflow.represent import find_encoder
from zoobot.workflow.run_folder import open_record, read_record_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoobot.options.similar import SimilarOptions

# Images that are asked about: encoded by the very model that the others' features are of.


def encode_images(
    images: Sequence[str], index: SimilarityIndex, options: SimilarOptions
) -> NDArray[np.float32]:
    """Features of images, (images, width), as those of the galaxies in an index were made.

    Args:
        images: Files, or places inside of files.
        index: Says which model and block they are to come from.
        options: The features, the model, and the engine.

    Raises:
        ConfigError: If nobody says which model, or it is another than that of the features.
        ImageError: If an image can't be read.
    """
    model = options.model or _recorded_model(Path(options.features).expanduser())
    if model is None:
        msg = f"{options.features} does not say which model made it, to encode {images[0]!r}: give --model"
        raise ConfigError(msg)
    engine = load_engine(options.backend)
    recorded = index.origin.get("preprocessing")
    pixels = None if recorded is None else Preprocessing.from_config(recorded)
    encoder = encoder_for_pixels(engine.encoders, find_encoder(model), None, pixels)
    read_otherwise(encoder, options.image_changes())
    block = (index.origin.get("task") or {}).get("block")
    if block is not None and block not in [one.name for one in encoder.blocks]:
        _refuse_model(model, options.features)
    table = pd.DataFrame({"id_str": list(images), "file_loc": list(images)})
    encoded = engine.represent.represent(
        read_catalog(table, allow_urls=options.web_access() or False),
        encoder,
        block=block,
        num_workers=options.num_workers,
        progress=False,
    )
    if len(encoded.failures):
        first = encoded.failures.iloc[0]
        raise ImageError(f"{first.file_loc}: {first.reason}")
    if index.origin.get("models", encoded.origin["models"]) != encoded.origin["models"]:
        _refuse_model(model, options.features)
    return encoded.features


def _refuse_model(model: str, features: str) -> NoReturn:
    msg = f"the features in {features} are of another model than {model}, so that images can't be compared "
    msg += "with them: give the one that made them (--model)"
    raise ConfigError(msg)


def _recorded_model(features: Path) -> str | None:
    """The model that the run which made some features was told."""
    paths = [features.with_suffix(".run.json")]
    if features.is_dir():
        paths = sorted(PartFolder(features).runs.glob("*.json"))
    records = [read_record_file(path) for path in paths]
    named = [record.content["options"].get("checkpoint") for record in records if record is not None]
    return next((name for name in named if isinstance(name, str)), None)


logger = logging.getLogger("zoobot")

#: Galaxies drawn of one list, and of each of several; and lists drawn.
_DRAWN = 23
_ROWS_SHOWN = 40  # in the report
_DRAWN_OF_SEVERAL = 7
_LISTS_DRAWN = 12
_COLUMNS = 6
_TITLE_LENGTH = 26


@dataclass(frozen=True, kw_only=True, repr=False)
class SimilarResult(Reported):
    """Galaxies like those that were asked about.

    Args:
        table: `query`, `rank` (from 1), `id_str`, `similarity` (cosine, at most 1), `file_loc` (empty where
            unknown).
        looked_at: How many galaxies have features.
        exact: Whether all of them were compared.
        save_loc: The list, if it was written.
        picture: The picture, if there is one.
    """

    table: pd.DataFrame
    looked_at: int
    exact: bool
    save_loc: Path | None
    picture: Path | None

    def report(self) -> str:
        """What came out, as a text to read."""
        how = "" if self.exact else ", nearly always the most similar ones"
        shown = self.table.drop(columns="file_loc").head(_ROWS_SHOWN)
        lines = [f"of {self.looked_at:,} galaxies{how}:", ""]
        lines.append(shown.to_string(index=False, float_format=lambda number: f"{number:.4f}"))
        if len(shown) < len(self.table):
            lines.append(f"and {len(self.table) - len(shown):,} more")
        if self.save_loc is None:
            return "\n".join([*lines, "", "With --save-loc NAME.csv they become a table and a picture."])
        lines += ["", f"the whole list: {self.save_loc}"]
        if self.picture is not None:
            lines.append(f"a picture: {self.picture}")
        return "\n".join(lines)


def similar(options: SimilarOptions, *, command: str = "zoobot.workflow.similar") -> SimilarResult:
    """List the galaxies of a table of features that are most like some, which may be images of others.

    The index is kept inside of the folder of features, or beside their table. Beside the list `NAME.csv` lie
    `NAME.png`, where it is known where images are, and `NAME.run.json`.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the features, the model or an image can't be used, an id is unknown, or the list
            exists.
    """
    save_loc = None
    if options.save_loc is not None:
        save_loc = free_list(options.save_loc, (".csv", ".parquet"), overwrite=options.overwrite)
    index = open_index(options.features, components=options.pca, search=options.search)
    images = [one for one in options.like if not index.knows(one) and _is_image(one)]
    ids = [one for one in options.like if one not in images]
    index.find(ids)
    if images and options.together:
        raise ConfigError(f"--together is for galaxies with features, but these are images: {images}")
    names = image_ids(images)
    if set(names) & set(ids):
        names = images  # a picture of a galaxy that is asked about by its id too
    tables = [index.like_galaxies(ids, options.k, together=options.together)] if ids else []
    if images:
        encoded = encode_images(images, index, options)
        tables.append(index.like_features(encoded, options.k, names=names))
    table = pd.concat(tables, ignore_index=True)
    file_locs = _places([*ids, *table["id_str"]], index, options)
    table["file_loc"] = [file_locs[galaxy] for galaxy in table["id_str"]]
    picture = None
    if save_loc is not None:
        with replacing(save_loc) as draft:
            if save_loc.suffix.lower() == ".csv":
                write_csv(table, draft)
            else:
                table.to_parquet(draft, index=False)
        _record(save_loc, index, options, command)
        if options.picture:
            asked = [ids] if options.together else [[one] for one in [*ids, *names]]
            asked_locs = file_locs | dict(zip(names, images, strict=True))
            place = save_loc.with_suffix("")
            picture = _draw(place, options, table, asked, asked_locs=asked_locs, origin=index.origin)
    return SimilarResult(
        table=table, looked_at=len(index), exact=index.is_exact, save_loc=save_loc, picture=picture
    )


def _is_image(text: str) -> bool:
    return SEPARATOR in text or is_address(text) or Path(text).expanduser().is_file()


def _places(ids: list[str], index: SimilarityIndex, options: SimilarOptions) -> dict[str, str]:
    unique = list(dict.fromkeys(ids))
    return dict(zip(unique, find_images(unique, options, index.origin), strict=True))


def _draw(
    place: Path,
    options: SimilarOptions,
    table: pd.DataFrame,
    asked: list[list[str]],
    *,
    asked_locs: dict[str, str],
    origin: dict[str, Any],
) -> Path | None:
    """Each list in rows of its own: what was asked about, marked, and the galaxies most like it."""
    several = len(asked) > 1
    columns = 1 + _DRAWN_OF_SEVERAL if several else _COLUMNS
    shown: list[str] = []
    names: list[str] = []
    marked: list[int] = []
    for galaxies in asked[:_LISTS_DRAWN]:
        found = table[table["query"] == ", ".join(galaxies)]
        found = found.head(_DRAWN_OF_SEVERAL if several else _DRAWN)
        marked += range(len(shown), len(shown) + len(galaxies))
        shown += [asked_locs[galaxy] for galaxy in galaxies] + found["file_loc"].tolist()
        names += [f"like this\n{_short(galaxy)}" for galaxy in galaxies]
        names += [
            f"{row.rank}. {_short(str(row.id_str))}\n{row.similarity:.3f}" for row in found.itertuples()
        ]
        missing = -len(shown) % columns if several else 0
        shown += [""] * missing
        names += [""] * missing
    how: dict[str, Any] = {"columns": columns, "marked": marked, "web": options.web_access()}
    picture = draw_sheet(place, options.figures, shown, names, origin, **how)
    if picture is None:
        logger.warning("No picture: the features do not say where their images are; give --catalog")
    return picture


def _short(name: str) -> str:
    return name if len(name) <= _TITLE_LENGTH else f"…{name[1 - _TITLE_LENGTH :]}"


def _record(save_loc: Path, index: SimilarityIndex, options: SimilarOptions, command: str) -> None:
    facts = {"source": options.features, "galaxies": len(index), "origin": index.origin}
    path = save_loc.with_suffix(".run.json")
    record = open_record(path, "similar", options, command=command, data={"features": facts})
    record.update(exact=index.is_exact, status="finished")
