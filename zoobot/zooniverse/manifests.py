"""Galaxies on their way to volunteers: a manifest for the Panoptes tools, its images, and predictions.

A row of the manifest becomes a subject: its image is uploaded, all other columns are what the subject is
uploaded with. Volunteers don't see a column whose name begins with "!" while they classify, and nobody sees
one with "#"; "#priority" orders subjects. Predictions are as the subject assistant of the Zooniverse takes
them. References: https://github.com/zooniverse/panoptes-cli.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pandas as pd
from PIL import Image

from zoobot.plots.examples import displayable
from zoobot.shared.errors import CatalogError, ConfigError, ImageError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import file_stems, replacing_folder
from zoobot.shared.pixels.images import read_image
from zoobot.shared.pixels.in_memory import ImageInMemory
from zoobot.shared.pixels.locations import split_stack
from zoobot.shared.pixels.picture_formats import find_format
from zoobot.shared.pixels.web_images import WebImage
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.destination import refuse_existing

if TYPE_CHECKING:
    from zoobot.shared.catalog import Catalog
    from zoobot.shared.votes import FloatArray

logger = logging.getLogger("zoobot")

MANIFEST, ASSISTANT = "manifest.csv", "subject_assistant.json"

#: What the Panoptes tools refuse to upload.
MOST_BYTES = 1024 * 1024

#: Columns that every manifest has.
_OWN = ("image", "!id_str", "#priority", "#score", "#reason")

#: Signs before the name of a column that say who sees it, or that subjects are found by it.
_SIGNS = "#!%/"

_ENDINGS = {"jpeg": "jpg", "png": "png"}
_QUALITIES = (95, 90, 80, 70)
_HEAD_BYTES = 16
_IS_PNG = re.compile(r"\.png($|[?#])", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]*)\}")
_SHOWN = 5


def folder_of(save_loc: Path) -> Path:
    """Where a list's manifest goes.

    Example:
        >>> folder_of(Path("next.csv"))
        PosixPath('next.zooniverse')
    """
    return save_loc.with_suffix(".zooniverse")


def check_upload(
    folder: Path,
    galaxies: Catalog,
    *,
    metadata: Sequence[str],
    urls: str | None,
    subject_col: str | None,
    overwrite: bool,
) -> None:
    """Raise before work where a folder can't be written as asked.

    Args:
        folder: Where.
        galaxies: All that may be listed.
        metadata: As for `uploaded_columns`.
        urls: As for `image_urls`.
        subject_col: As for `subject_numbers`.
        overwrite: Whether an older folder may be replaced.

    Raises:
        ConfigError: If the folder is taken, or what is there is no manifest; or a name is impossible.
        CatalogError: If the catalog lacks a column, or what it must hold.
    """
    refuse_existing(folder, overwrite=overwrite)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise ConfigError(f"{folder} is no folder that this command wrote, and is not replaced: move it away")
    uploaded_columns(metadata, galaxies)
    if urls is not None:
        image_urls(urls, galaxies)
    if subject_col is not None:
        subject_numbers(subject_col, galaxies)


# What the rows hold.


def uploaded_columns(wanted: Sequence[str], galaxies: Catalog) -> pd.DataFrame:
    """Columns of a catalog, under the names that subjects are uploaded with, as texts.

    Args:
        wanted: Their names, which may have "#" or "!" before them.
        galaxies: The galaxies.

    Raises:
        CatalogError: If the catalog has no such column.
        ConfigError: If a name is given twice, or is the manifest's own.
    """
    repeated = [name for place, name in enumerate(wanted) if name in wanted[:place] or name in _OWN]
    if repeated:
        msg = f"--metadata: {repeated[0]!r} is there twice, or is a column that each manifest has: {_OWN}"
        raise ConfigError(msg)
    known = list(map(str, galaxies.table.columns))
    columns = {}
    for name in wanted:
        column = name if name in known else name.lstrip(_SIGNS)
        if column not in known:
            raise CatalogError(f"--metadata: {galaxies.name} has no column {column!r}; it has {known[:40]}")
        values = galaxies.table.iloc[:, known.index(column)]
        columns[name] = ["" if pd.isna(value) else str(value) for value in values]
    return pd.DataFrame(columns, index=range(len(galaxies)))


def image_urls(template: str, galaxies: Catalog) -> list[str]:
    """The URL of each galaxy's image.

    Args:
        template: With names of columns in braces, such as "https://example.org/{id_str}.jpg".
        galaxies: The galaxies, which have these columns.

    Raises:
        ConfigError: If it is no template of URLs, or names no column.
        CatalogError: If two galaxies would have one URL, or a value is missing.
    """
    names = _FIELD.findall(template)
    if not template.startswith(("https://", "http://")) or not names:
        raise ConfigError(
            "--image-urls must begin with https:// and name a column in braces, as in "
            f"https://example.org/{{id_str}}.jpg, got {template!r}"
        )
    values: dict[str, list[str]] = {"id_str": galaxies.ids}
    for name in names:
        if name in values:
            continue
        if name not in galaxies.table:
            known = list(map(str, galaxies.table))[:40]
            raise ConfigError(f"--image-urls names {{{name}}}, but {galaxies.name} has the columns {known}")
        values[name] = uploaded_columns([name], galaxies)[name].tolist()
    urls = [
        _FIELD.sub(lambda found: quote(values[found[1]][row], safe=""), template)  # noqa: B023
        for row in range(len(galaxies))
    ]
    empty = [galaxies.ids[row] for name in names for row, value in enumerate(values[name]) if not value]
    if empty or len(set(urls)) < len(urls):
        what = f"no value for {empty[:_SHOWN]}" if empty else "the same URL for several galaxies"
        raise CatalogError(
            f"--image-urls {template} gives {what}: name a column that differs, such as id_str"
        )
    return urls


def subject_numbers(column: str, galaxies: Catalog) -> list[str]:
    """The Zooniverse's number of each galaxy's subject; empty where it has none.

    Raises:
        CatalogError: If there is no such column, or it holds something else, or a number twice.
    """
    if column not in galaxies.table:
        known = list(map(str, galaxies.table))[:40]
        raise CatalogError(f"--subject-col: {galaxies.name} has no column {column!r}; it has {known}")
    texts = uploaded_columns([column], galaxies)[column]
    numbers = [re.sub(r"\.0$", "", text.strip()) for text in texts]  # a column with gaps is read as floats
    bad = [text for text, number in zip(texts, numbers, strict=True) if number and not number.isdecimal()]
    if bad:
        raise CatalogError(f"column {column!r} must hold the numbers of subjects, got {bad[:_SHOWN]}")
    given = [number for number in numbers if number]
    if len(set(given)) < len(given) or not given:
        what = "repeats some" if given else "holds none"
        raise CatalogError(f"column {column!r} must hold the number of each galaxy's subject, but {what}")
    return numbers


def assistant_text(subjects: Sequence[str], by_member: FloatArray) -> str:
    """Predictions as the subject assistant takes them: for each subject a probability, and each member's.

    Members that are one model without dropout say the same, and are told of once.

    Args:
        subjects: Their numbers; galaxies without one are left out.
        by_member: (members, galaxies), probabilities.

    Example:
        >>> json.loads(assistant_text(["7"], np.array([[0.5], [1.0]])))["data"]
        {'7': {'0': [0.75, [0.5, 1.0]]}}
    """
    told = by_member[:1] if (by_member == by_member[:1]).all() else by_member
    data = {
        subject: {"0": [round(float(told[:, row].mean()), 6), [round(float(p), 6) for p in told[:, row]]]}
        for row, subject in enumerate(subjects)
        if subject
    }
    schema = {"version": 1, "type": "zooniverse/subject_assistant"}
    return json.dumps({"schema": schema, "data": data}, allow_nan=False) + "\n"


# The folder.


@dataclass(frozen=True)
class Upload:
    """What lies ready to be uploaded.

    Args:
        folder: Where.
        rows: Subjects in the manifest.
        is_remote: Whether images are URLs, and not files in the folder.
        mime_type: What the first of the images is.
        reduced: Images that were made smaller, to be taken by the Zooniverse.
        assistant: Subjects in `subject_assistant.json`.
        failures: Galaxies whose image can't be read: `id_str`, `file_loc`, `reason`; they are left out.
    """

    folder: Path
    rows: int
    is_remote: bool
    mime_type: str
    reduced: int
    assistant: int
    failures: pd.DataFrame

    def report(self) -> list[str]:
        """What to do with it, in lines."""
        how = f"-r 1 -m {self.mime_type}" if self.is_remote else "-f 1"
        lines = [f"ready to upload: {self.folder}, {self.rows:,} subjects in {MANIFEST}"]
        if self.reduced:
            lines.append(f"  {self.reduced:,} images had more than 1 MiB, and were made smaller")
        if self.assistant:
            lines.append(f"  {self.assistant:,} subjects in {ASSISTANT}")
        lines.append(f"  there: panoptes subject-set upload-subjects {how} SUBJECT_SET_ID {MANIFEST}")
        return lines


def write_upload(
    folder: Path,
    listed: pd.DataFrame,
    galaxies: Catalog,
    *,
    preprocessing: Preprocessing,
    metadata: Sequence[str] = (),
    urls: str | None = None,
    assistant: tuple[Sequence[str], FloatArray] | None = None,
    num_workers: int | None = None,
) -> Upload:
    """Write the folder, whole or not at all.

    JPEG and PNG files are copied as they are, and all other images drawn whole, as a model reads them.

    Args:
        folder: Where; an older one is replaced.
        listed: `rank`, `id_str`, `score` and `reason` of each galaxy, in order.
        galaxies: The same galaxies.
        preprocessing: How images are read.
        metadata: Columns of the catalog, as for `uploaded_columns`.
        urls: A template, as for `image_urls`; None puts the images into the folder.
        assistant: The numbers of subjects and their probabilities, as for `assistant_text`.
        num_workers: Threads.

    Raises:
        ImageError: If no image can be read.
        WriteError: If it can't be written.
    """
    failures: list[tuple[str, str, str]] = []
    with replacing_folder(folder) as draft:
        if urls is None:
            names, reduced = _write_images(draft, galaxies, preprocessing, failures, num_workers)
        else:
            names, reduced = list(image_urls(urls, galaxies)), 0
        table = pd.DataFrame(
            {
                "image": names,
                "!id_str": galaxies.ids,
                "#priority": listed["rank"].to_numpy(),
                "#score": listed["score"].to_numpy().round(6),
                "#reason": listed["reason"].to_numpy(),
            }
        )
        table = pd.concat([table, uploaded_columns(metadata, galaxies)], axis=1)
        table = table[table["image"] != ""]
        if table.empty:
            raise ImageError(f"not one of {len(galaxies):,} images can be read; the first: {failures[0][2]}")
        write_csv(table, draft / MANIFEST)
        if assistant is not None:
            (draft / ASSISTANT).write_text(assistant_text(*assistant), encoding="utf-8")
    if failures:
        logger.warning("%s galaxies have no readable image and are not in the manifest", len(failures))
    return Upload(
        folder=folder,
        rows=len(table),
        is_remote=urls is not None,
        mime_type="image/png" if _IS_PNG.search(str(table["image"].iloc[0])) else "image/jpeg",
        reduced=reduced,
        assistant=0 if assistant is None else sum(map(bool, assistant[0])),
        failures=pd.DataFrame(failures, columns=["id_str", "file_loc", "reason"]),
    )


def _write_images(
    folder: Path,
    galaxies: Catalog,
    preprocessing: Preprocessing,
    failures: list[tuple[str, str, str]],
    num_workers: int | None,
) -> tuple[list[str], int]:
    """The names of the files, empty where an image can't be read; and how many were made smaller."""
    width = len(str(len(galaxies)))

    def write(row: int) -> tuple[str, bool, str]:
        place = galaxies.paths[row]
        try:
            content, ending, is_reduced = _content(place, preprocessing)
        except ImageError as error:
            return "", False, str(error).removeprefix(f"{place}: ")
        # the number first: in order, and never a name that some system reserves
        name = f"{row + 1:0{width}}_{stems[row]}.{ending}"
        (folder / name).write_bytes(content)
        return name, is_reduced, ""

    stems = file_stems(galaxies.ids)
    with ThreadPoolExecutor(num_workers or 1) as pool:
        made = list(pool.map(write, range(len(galaxies))))
    for row, (name, _, reason) in enumerate(made):
        if not name:
            failures.append((galaxies.ids[row], str(galaxies.paths[row]), reason))
    return [name for name, _, _ in made], sum(is_reduced for _, is_reduced, _ in made)


def _content(place: str, preprocessing: Preprocessing) -> tuple[bytes, str, bool]:
    """The bytes of an image for volunteers, its ending, and whether it was made smaller."""
    kind = _kind_of_file(place)
    if kind is not None:
        whole = read_image(place, Preprocessing())  # a damaged file is not passed on
        content = place.content() if isinstance(place, WebImage) else Path(place).read_bytes()
        return (*_within_limit(whole), True) if len(content) > MOST_BYTES else (content, kind, False)
    whole = read_image(place, preprocessing)
    file = BytesIO()
    _picture(whole).save(file, "PNG", optimize=True)
    content = file.getvalue()
    return (content, "png", False) if len(content) <= MOST_BYTES else (*_within_limit(whole), True)


def _kind_of_file(place: str) -> str | None:
    """The ending of a file that browsers show as it is; None of all else."""
    if isinstance(place, ImageInMemory) or split_stack(place) is not None:
        return None
    if isinstance(place, WebImage):
        return _ENDINGS.get(find_format(place.content()[:_HEAD_BYTES]) or "")
    if not os.path.isfile(place):
        return None
    try:
        with open(place, "rb") as file:
            return _ENDINGS.get(find_format(file.read(_HEAD_BYTES)) or "")
    except OSError:
        return None  # whoever reads it says why it can't be


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * displayable(pixels)).astype(np.uint8))


def _within_limit(pixels: np.ndarray) -> tuple[bytes, str]:
    """A JPEG that the Zooniverse takes: of the best quality that does, else of half the size."""
    picture = _picture(pixels)
    while True:
        for quality in _QUALITIES:
            file = BytesIO()
            picture.save(file, "JPEG", quality=quality)
            if file.tell() <= MOST_BYTES:
                return file.getvalue(), "jpg"
        picture = picture.reduce(2)
