"""The PyTorch engine: LightningModules over timm encoders."""

from zoobot.shared.imports import refuse_late_triton

refuse_late_triton()

from zoobot.pytorch import (  # noqa: E402
    checkpoint,
    data,
    encoders,
    finetune,
    heads,
    losses,
    models,
    posteriors,
    predict,
    represent,
    saliency,
)

__all__ = [
    "checkpoint",
    "data",
    "encoders",
    "finetune",
    "heads",
    "losses",
    "models",
    "posteriors",
    "predict",
    "represent",
    "saliency",
]
