"""Images of galaxies fetched by their positions, with a catalog of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoobot.shared.catalog import check_columns
from zoobot.shared.catalogs.catalog import Catalog
from zoobot.shared.catalogs.columns import read_ids
from zoobot.shared.catalogs.cutouts import read_positions
from zoobot.shared.catalogs.given import settle
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.counting_bar import CountingBar
from zoobot.shared.errors import CatalogError, ConfigError, ServiceError
from zoobot.shared.files.locks import lock_file, locked
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.table_checks import decoded_frame, find_column
from zoobot.shared.files.whole import replacing
from zoobot.shared.pixels.answers import check_image
from zoobot.shared.web.client import LARGEST_BYTES, Client, NoAnswer, NoImage, Pace, may_have_token
from zoobot.sky.folder import IMAGES, CutoutFolder, Kept
from zoobot.sky.images import LARGEST_ANSWER, ImageSearch
from zoobot.workflow.reporting import Reported, quoted
from zoobot.workflow.run_folder import RECORD_FILE, check_run_folder, open_record, read_record

if TYPE_CHECKING:
    from zoobot.options.fetch import FetchOptions
    from zoobot.sky.surveys import Asked, Cutout

logger = logging.getLogger("zoobot")

_FAILURES = "failures.csv"
_SHOWN = 5
#: What decides which images are in a folder; the rest is how they are asked for.
_OF_IMAGES = (
    *("survey", "hips", "url_template", "layer", "bands", "image_format", "pixel_scale", "size_pix"),
    *("size_arcsec", "size_col", "size_factor", "dataset", "dataset_col"),
    *("collection", "band", "calib_level", "soda_endpoint"),
)


@dataclass(frozen=True, kw_only=True, repr=False)
class FetchResult(Reported):
    """Images that were fetched.

    Args:
        save_dir: The folder.
        catalog: The catalog of the images: all columns of the table of positions, and where each came from.
        table: What is in it.
        fetched: How many images came in this run.
        before: How many were there before.
        failures: The galaxies without an image, with the reason of each.
        notes: What else was decided or met.
    """

    save_dir: Path
    catalog: Path
    table: pd.DataFrame = field(repr=False)
    fetched: int
    before: int
    failures: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...]

    def report(self) -> str:
        """What came out, as a text to read."""
        before = f", {self.before:,} were there before" if self.before else ""
        lines = [*self.notes, f"{self.fetched:,} images came{before}"]
        if len(self.failures):
            first = self.failures.iloc[0]
            lines.append(
                f"{len(self.failures):,} did not, listed in {self.save_dir / _FAILURES}; the first: "
                f"{first.id_str}: {first.reason}"
            )
            lines.append("  the same command tries them again")
        place = quoted(self.catalog)
        lines.append(f"catalog of {len(self.table):,} galaxies: {self.catalog}")
        lines.append("Next: predict them, or label them and teach a model")
        lines.append(f"  zoobot predict zoobot-mini --catalog {place} --save-loc predictions.csv")
        return "\n".join(lines)


@dataclass(kw_only=True)
class _Work:
    """What was asked for, and what became of it, by the places in the table."""

    table: pd.DataFrame
    cutouts: list[Cutout]
    kept: dict[int, Kept] = field(default_factory=dict)
    failed: dict[int, tuple[str, str]] = field(default_factory=dict)
    before: int = 0


def fetch(options: FetchOptions, *, command: str = "zoobot.workflow.fetch") -> FetchResult:
    """Fetch an image of each galaxy of a table, or go on where an earlier run ended.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ServiceError: If the service refuses, or more galaxies fail than `max_failures`; what came is kept.
        ZoobotError: If the table, an option or the folder can't be used.
    """
    folder = Path(options.save_dir).expanduser().absolute()
    asked = options.asked()
    token = _read_token(options, asked)
    check_run_folder(folder, "fetch", resume=True)
    _refuse_other_images(folder, options)
    notes: list[str] = []
    work = _plan(options, asked, notes)
    for note in notes:
        logger.info("%s", note)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(lock_file(folder)):
        _refuse_other_images(folder, options)
        kept = CutoutFolder(folder)
        if options.overwrite:
            kept.clear()
        record = open_record(folder / RECORD_FILE, "fetch", options, command=command, started=_now())
        kept.open()
        with record.running():
            stopped = _fetch_all(options, asked, token, work, kept)
            table = _write_catalog(folder, options, asked, work)
            failures = _write_failures(folder, work)
            facts = {
                "service": asked.service.name,
                "layer": asked.survey.layer,
                "endpoint": asked.base,
                "pixel_scale_arcsec": _only(table["pixel_scale_arcsec"]),
                "size_arcsec": _only(table["cutout_arcsec"]),
            }
            counts = {"fetched": len(work.kept) - work.before, "before": work.before, "failed": len(failures)}
            record.update(**facts, **counts, notes=notes)
            if stopped is not None:
                raise stopped
            if not len(table):
                raise _too_many(options, work)
    return FetchResult(
        save_dir=folder,
        catalog=_catalog_file(folder, options),
        table=table,
        fetched=len(work.kept) - work.before,
        before=work.before,
        failures=failures,
        notes=tuple(notes),
    )


def _read_token(options: FetchOptions, asked: Asked) -> str | None:
    """The token, from the environment alone."""
    if options.token_env is None:
        return None
    token = os.environ.get(options.token_env, "").strip()
    if not token:
        raise ConfigError(
            f"--token-env {options.token_env} names no variable of the environment with a token"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"what the variable {options.token_env} holds can be no token")
    if not may_have_token(asked.base):
        raise ConfigError("a token is sent by https alone, where nobody can listen: see --endpoint")
    return token


def _refuse_other_images(folder: Path, options: FetchOptions) -> None:
    """What is in a folder was asked for in one way."""
    record = read_record(folder)
    if record is None or options.overwrite:
        return
    before, now = record.content["options"], options.to_config()
    names = [*_OF_IMAGES, *(["endpoint"] if options.survey in ("soda", "sia2") else [])]
    changed = [f"{n} was {before.get(n)!r}, now {now[n]!r}" for n in names if before.get(n) != now[n]]
    if changed:
        raise ConfigError(
            f"the images in {folder} were asked for otherwise: {'; '.join(changed)}. Choose another "
            "--save-dir, or start over with --overwrite"
        )


# What is asked for.


def _plan(options: FetchOptions, asked: Asked, notes: list[str]) -> _Work:
    """The cutouts of all galaxies, in the order of the table; every position and size is looked at first."""
    table, name = _read_positions(options)
    columns = (find_column(options.ra_col, table.columns), find_column(options.dec_col, table.columns))
    more = [one for one in (options.size_col, options.dataset_col) if one is not None]
    check_columns(table, (options.id_col, *columns, *more), name, id_col=options.id_col)
    if table.empty:
        raise CatalogError(f"{name} has no rows: expected one for each galaxy")
    ids = read_ids(table[options.id_col], name)
    ra_deg, dec_deg = read_positions(table, columns, name)
    sizes = _sizes(table, options, name)
    if options.dataset_col is None:
        datasets = [options.dataset or ""] * len(ids)
    else:
        datasets = (
            table[options.dataset_col].astype(object).where(table[options.dataset_col].notna(), "").map(str)
        )
    rows = zip(ids, ra_deg.tolist(), dec_deg.tolist(), sizes.tolist(), datasets, strict=True)
    cutouts = [
        asked.cutout(galaxy, ra, dec, size, dataset=dataset) for galaxy, ra, dec, size, dataset in rows
    ]
    notes += _in_words(asked, cutouts)
    new = (*_NEW_COLUMNS, *(_FOUND_COLUMNS if asked.service.searches else ()))
    replaced = [column for column in new if column in table.columns]
    if replaced:
        notes.append(f"columns of {name} that are written anew: {', '.join(replaced)}")
    if "id_str" not in table.columns:
        table = table.assign(id_str=ids)
    return _Work(table=table, cutouts=cutouts)


def _read_positions(options: FetchOptions) -> tuple[pd.DataFrame, str]:
    source = settle(options.catalog)
    if isinstance(source, Catalog):
        return source.table, source.name
    if isinstance(source, pd.DataFrame):
        return decoded_frame(source), "the DataFrame"
    return read_table(source, text_cols=[options.id_col]), str(source)


def _sizes(table: pd.DataFrame, options: FetchOptions, name: str) -> np.ndarray:
    """The side of each galaxy's square in arcsec."""
    if options.size_col is None:
        return np.full(len(table), options.size_arcsec, dtype=float)
    column = pd.to_numeric(table[options.size_col], errors="coerce")
    sizes = column.to_numpy(dtype=float, na_value=np.nan) * options.size_factor
    bad = np.flatnonzero(~((sizes > 0) & (sizes <= _LARGEST_ARCSEC)))
    if len(bad):
        shown = ", ".join(f"row {row}: {table[options.size_col].iloc[row]}" for row in bad[:_SHOWN])
        raise CatalogError(
            f"{len(bad):,} galaxies of {name} have no size in column {options.size_col!r} that can be, above "
            f"0 and at most {_LARGEST_ARCSEC:,} arcsec; the first (rows counted from 0): {shown}"
        )
    return sizes


#: Ten degrees: nothing larger is one galaxy.
_LARGEST_ARCSEC = 36_000


def _in_words(asked: Asked, cutouts: list[Cutout]) -> list[str]:
    """Which images are asked for, and where their pixels differ from what was asked."""
    sizes = _range([c.size_arcsec for c in cutouts], "arcsec")
    pixels = [c.size_pix for c in cutouts if c.size_pix is not None]
    scales = [c.pixel_scale_arcsec for c in cutouts if c.pixel_scale_arcsec is not None]
    line = f"{len(cutouts):,} images of {asked.service.name}"
    line += f" ({asked.survey.layer})" if asked.survey.layer else ""
    line += f", {sizes} on a side"
    line += f": {_range(pixels, 'pixels')}" if pixels else ""
    line += f" of {_range(scales, 'arcsec')}" if scales else ""
    lines = [line]
    if asked.service.searches and not asked.bands:
        lines.append("without --band, the images of different galaxies may be of different bands")
    usual = asked.scale
    odd = [s for s in scales if usual is not None and not np.isclose(s, usual)]
    if odd:
        limits = f"{asked.service.least_pix} to {asked.service.most_pix}"
        lines.append(
            f"{len(odd):,} of them have pixels of {_range(odd, 'arcsec')} instead of {usual:g}, for "
            f"{asked.service.name} gives {limits} pixels on a side"
        )
    return lines


def _range(values: list[float] | list[int], unit: str) -> str:
    low, high = min(values), max(values)
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"


# Asking.


def _fetch_all(
    options: FetchOptions, asked: Asked, token: str | None, work: _Work, kept: CutoutFolder
) -> ServiceError | None:
    """Ask for what is not there yet; what ended that too early, if anything did."""
    for place, cutout in enumerate(work.cutouts):
        there = kept.find(cutout, asked.image_format)
        if there is not None:
            work.kept[place] = there
    work.before = len(work.kept)
    pace = Pace(options.rate)

    def client_of(largest_bytes: int) -> Client:
        return Client(
            pace,
            address=asked.base,
            token=token,
            allow_hosts=options.allow_hosts,
            retries=options.retries,
            timeout_s=options.timeout,
            connections=options.connections,
            largest_bytes=largest_bytes,
        )

    client, searcher = client_of(LARGEST_BYTES), client_of(LARGEST_ANSWER)
    search = ImageSearch(searcher, asked, kept, options.soda_endpoint) if asked.service.searches else None
    bar = CountingBar(
        "Fetching images", len(work.cutouts), done=work.before, unit="images", shown=options.progress
    )
    try:
        with bar:
            for place, came in _answers(client, search, options, asked, work, kept):
                if isinstance(came, Kept):
                    kept.note(came)
                    work.kept[place] = came
                else:
                    work.failed[place] = (came, _now())
                    bar.note = f"{len(work.failed):,} failed"
                bar.advance()
                if len(work.failed) > options.max_failures:
                    return _too_many(options, work)
    except ServiceError as error:
        return error
    finally:
        client.close()
        searcher.close()
    return None


def _answers(
    client: Client,
    search: ImageSearch | None,
    options: FetchOptions,
    asked: Asked,
    work: _Work,
    kept: CutoutFolder,
) -> Iterator[tuple[int, Kept | str]]:
    """What became of each galaxy that has no image yet: the image, or why there is none."""

    def ask(place: int) -> Kept | str:
        cutout = work.cutouts[place]
        try:
            cutout = search.find(cutout) if search is not None else cutout
            data = client.get(cutout.url)
            check_image(data, asked.image_format, cutout.size_pix if asked.service.chooses_size else None)
        except NoImage as reason:
            said = client.without_token(str(reason))
            if cutout.found is None:
                return said
            if not isinstance(reason, NoAnswer):
                kept.forget_searched(cutout)
            return f"of {cutout.found.dataset or 'an image'}: {said}"
        return kept.keep(cutout, data)

    pending = [place for place in range(len(work.cutouts)) if place not in work.kept]
    at_once = 16 * options.connections
    with ThreadPoolExecutor(options.connections) as pool:
        for start in range(0, len(pending), at_once):
            places = pending[start : start + at_once]
            futures = [pool.submit(ask, place) for place in places]
            try:
                for place, future in zip(places, futures, strict=True):
                    yield place, future.result()
            finally:
                for future in futures:
                    future.cancel()


def _too_many(options: FetchOptions, work: _Work) -> ServiceError:
    place, (reason, _) = next(iter(work.failed.items()))
    is_over = len(work.failed) > options.max_failures
    which = f"more than --max-failures {options.max_failures}" if is_over else "which is all of them"
    return ServiceError(
        f"{len(work.failed):,} galaxies failed, {which}; the first, "
        f"{work.cutouts[place].id_str}: {reason}. All are in {_FAILURES}; what came is kept, and the same "
        "command goes on from here"
    )


# What is left.

_NEW_COLUMNS = (
    *("file_loc", "cutout_service", "cutout_layer", "cutout_url", "cutout_date", "cutout_arcsec"),
    *("cutout_pix", "pixel_scale_arcsec"),
)
#: And of images that were searched for.
_FOUND_COLUMNS = ("cutout_dataset", "cutout_images_found", "cutout_edge_arcsec", "cutout_band_m")


def _write_catalog(folder: Path, options: FetchOptions, asked: Asked, work: _Work) -> pd.DataFrame:
    """The catalog of the images that are there, in the order of the table."""
    places = sorted(work.kept)
    kept, cutouts = [work.kept[place] for place in places], [work.cutouts[place] for place in places]
    table = work.table.iloc[places].reset_index(drop=True)
    new = {
        "file_loc": [f"{IMAGES}/{one.file}" for one in kept],
        "cutout_service": [asked.service.name] * len(kept),
        "cutout_layer": [asked.survey.layer] * len(kept),
        "cutout_url": [one.url for one in kept],
        "cutout_date": [one.date for one in kept],
        "cutout_arcsec": [one.size_arcsec for one in cutouts],
        "cutout_pix": pd.array([one.size_pix for one in cutouts], dtype="Int64"),
        "pixel_scale_arcsec": np.array([one.pixel_scale_arcsec for one in kept], dtype=float),
    }
    if asked.service.searches:
        found = (
            [one.dataset for one in kept],
            pd.array([one.images for one in kept], dtype="Int64"),
            np.array([one.edge_arcsec for one in kept], dtype=float),
            [one.band_m for one in kept],
        )
        new |= dict(zip(_FOUND_COLUMNS, found, strict=True))
    table = table.drop(columns=[name for name in new if name in table.columns])
    table = pd.concat([table, pd.DataFrame(new)], axis=1)
    path = _catalog_file(folder, options)
    if not len(table):
        path.unlink(missing_ok=True)
        return table
    with replacing(path) as draft:
        if options.table_format == "csv":
            write_csv(table, draft)
        else:
            table.to_parquet(draft, index=False)
    return table


def _catalog_file(folder: Path, options: FetchOptions) -> Path:
    return folder / f"catalog.{options.table_format}"


def _write_failures(folder: Path, work: _Work) -> pd.DataFrame:
    rows = [
        (work.cutouts[place].id_str, reason, work.cutouts[place].url, date)
        for place, (reason, date) in sorted(work.failed.items())
    ]
    failures = pd.DataFrame(rows, columns=["id_str", "reason", "url", "date"], dtype=object)
    path = folder / _FAILURES
    if rows:
        with replacing(path) as draft:
            write_csv(failures, draft)
    else:
        path.unlink(missing_ok=True)
    return failures


def _only(column: pd.Series) -> float | None:
    """The one value of a column; None where there are several, or none."""
    values = column.dropna().unique()
    return float(values[0]) if len(values) == 1 else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
