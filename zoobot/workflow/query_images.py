"""Images that are asked about: encoded by the very model that the others' features are of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pandas as pd

from zoobot.shared.engine import load_engine
from zoobot.shared.errors import ConfigError, ImageError
from zoobot.shared.models.neutral import encoder_for_pixels
from zoobot.shared.parts.files import PartFolder
from zoobot.shared.pixels.first_images import read_otherwise
from zoobot.shared.preprocessing import Preprocessing
from zoobot.workflow.representing import find_encoder
from zoobot.workflow.run_folder import read_record_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zoobot.shared.config import SimilarOptions
    from zoobot.shared.similarity import SimilarityIndex

__all__ = ["encode_images"]


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
        table,
        encoder,
        block=block,
        num_workers=options.num_workers,
        progress=False,
    )
    if len(encoded.failures):
        first = encoded.failures.iloc[0]
        msg = f"{first.file_loc}: {first.reason}"
        raise ImageError(msg)
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
