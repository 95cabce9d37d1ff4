"""The guided run that encodes a catalog of any size: an encoder, a catalog, a table of features."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError
from zoobot.shared.models.encoder_source import tell_pixels
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.models.neutral import encoder_for_pixels
from zoobot.shared.onnx.model import is_onnx_file
from zoobot.shared.predicting.run import check_request
from zoobot.shared.predictions import failure_table
from zoobot.shared.tables.destination import Destination, failures_of
from zoobot.workflow.galaxies import read_galaxies
from zoobot.workflow.predict import predict_into_folder, save_failures
from zoobot.workflow.reporting import Reported, missing_lines, table_failure_lines
from zoobot.workflow.run_folder import table_run

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from zoobot.options.groups import ReadingOptions
    from zoobot.options.represent import RepresentOptions
    from zoobot.shared.engine import Engine
    from zoobot.shared.features.tables import FeatureTable

logger = logging.getLogger("zoobot")


@dataclass(frozen=True, kw_only=True, repr=False)
class RepresentResult(Reported):
    """What a run that encodes made.

    Args:
        save_loc: The table, or the folder of its parts.
        galaxies: How many galaxies have features.
        failures: Galaxies whose image could not be read: `id_str`, `file_loc`, `reason`; of a folder of parts
            only the first part that has any.
        failed: How many could not be read.
        missing_parts: How many parts of a folder are still to be made, by other shards.
    """

    save_loc: Path
    galaxies: int
    failures: pd.DataFrame
    failed: int
    missing_parts: int = 0

    def report(self) -> str:
        """What came out, as a text to read."""
        return "\n".join(
            [
                f"features of {self.galaxies:,} galaxies: {self.save_loc}",
                *table_failure_lines(self),
                *missing_lines(self.save_loc, self.missing_parts),
            ]
        )


def represent(options: RepresentOptions, *, command: str = "zoobot.workflow.represent") -> RepresentResult:
    """Encode every galaxy of a catalog and write the features, their record, and the failures if any.

    As `predict` does, beside `NAME.parquet` or into a folder of parts; `zoobot.shared.features.tables` reads
    either.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the encoder or catalog can't be used, the table exists, or no image can be read.
    """
    check_request(
        n_samples=1,
        save_loc=options.save_loc,
        part_rows=options.part_rows,
        shard=options.shard,
        max_failures=options.max_failures,
    )
    engine = load_engine(options.backend)
    encode_with = partial(
        engine.represent.represent,
        block=options.block,
        dtype=options.dtype,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        max_failures=options.max_failures,
        progress=options.progress,
    )
    place = Destination.of(options.save_loc)
    if place.is_parts:
        encoder = load_told_encoder(engine, options.checkpoint, options)
        return _into_folder(options, encoder, encode_with, command)
    save_loc = place.free(overwrite=options.overwrite)
    galaxies = read_galaxies(options.catalog, options, select=options.select)
    encoder = load_told_encoder(engine, options.checkpoint, options)
    logger.info("Encoding %s galaxies of %s", f"{len(galaxies):,}", galaxies.name)
    data = {"catalog": galaxies.record()}
    with table_run(save_loc, "represent", options, command=command, data=data):
        found = encode_with(galaxies, encoder, save_loc=save_loc)
        failures = save_failures(found.failures, failures_of(save_loc))
    return RepresentResult(
        save_loc=save_loc,
        galaxies=len(galaxies) - len(failures),
        failures=failures,
        failed=len(failures),
    )


def load_told_encoder(engine: Engine, place: str, options: ReadingOptions) -> Any:
    """The encoder, with the pixels that were asked for; what it looks at is said."""
    name = find_encoder(place)
    encoder = encoder_for_pixels(engine.encoders, name, None, options.image_changes())
    tell_pixels(encoder)
    return encoder


def _into_folder(
    options: RepresentOptions, encoder: Any, encode_with: Callable[..., FeatureTable], command: str
) -> RepresentResult:
    parts = predict_into_folder(options, encoder, encode_with, command=command, work="represent")
    failed = parts.count_failures()
    return RepresentResult(
        save_loc=parts.folder.path,
        galaxies=parts.manifest.count(parts.done) - failed,
        failures=next(parts.read_failures(), failure_table(())),
        failed=failed,
        missing_parts=len(parts.missing),
    )


def find_encoder(name: str) -> str:
    """An encoder as an engine's `load_encoder` takes it: the folder of a run stands for its checkpoint.

    Raises:
        CheckpointError: If a folder holds no checkpoint.
        ConfigError: If it is an exported file, of which nobody can take features.
    """
    if is_onnx_file(name):
        msg = f"{name} is an exported file, which predicts and gives no features: give the checkpoint"
        raise ConfigError(msg)
    return str(find_checkpoint(name)) if Path(name).expanduser().is_dir() else name
