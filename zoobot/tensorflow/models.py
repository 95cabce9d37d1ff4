"""Models that are trained whole, to answer every question of one or many campaigns."""

from __future__ import annotations

from typing import Any

import keras

from zoobot.shared import defaults
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.public_names import advise
from zoobot.shared.schemas import Schema
from zoobot.shared.training.finetune_settings import TrainSettings
from zoobot.tensorflow.finetune import FinetuneableZoobotTree

__all__ = ["ZoobotTree"]


@advise
class ZoobotTree(FinetuneableZoobotTree):
    """An encoder and a Dirichlet head that learn together to answer as volunteers would.

    What it learns is a good start for other tasks: `zoobot.pytorch.models.ZoobotTree` says how, and either
    engine reads the checkpoints of the other.

    Args:
        schema: The decision tree, or the name of a survey's.
        name: A timm architecture, to start from random weights; or weights to start from: a bundled name,
            `hf_hub:owner/name`, or a checkpoint's folder.
        encoder: An encoder in memory, instead of `name`.
        preprocessing: How files become pixels, or a dict of changes to the encoder's own record.
        **settings: How the weights learn: see `zoobot.shared.training.finetune_settings.TrainSettings`.

    Raises:
        ConfigError: If an option is unknown or can't work.
        EncoderError: If the encoder can't be had.
        SchemaError: If no survey has that name.

    Example:
        >>> ZoobotTree(schema="gz_decals_dr5", name="resnet18").settings.n_blocks
        'all'

    References:
        Walmsley et al. 2022, arXiv:2206.11927: training on several campaigns at once.
    """

    def __init__(
        self,
        *,
        schema: Schema | str,
        name: str = defaults.ENCODER,
        encoder: keras.layers.Layer | None = None,
        preprocessing: Preprocessing | dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        checked = TrainSettings.from_config(settings)
        super().__init__(
            schema=schema, name=name, encoder=encoder, preprocessing=preprocessing, **checked.to_config()
        )
