"""How a guided run learns, and how sure its model may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.settings import Options, setting, with_default
from zoobot.shared.training.finetune_settings import LearningSettings, TrainerSettings, WholeModelSettings

__all__ = ["CalibrationOptions", "LearningOptions", "WholeModelOptions"]


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(Options):
    """What a guided run starts from, and on what it runs."""

    title: ClassVar[str] = "Learning"

    encoder: str = setting(
        defaults.ENCODER,
        "pretrained encoder: a bundled name, hf_hub:owner/name, a checkpoint folder, or a timm architecture "
        "(random weights)",
        metavar="NAME",
    )
    accelerator: str = setting("auto", "auto, cpu, gpu, mps …", metavar="NAME")
    devices: int = setting(1, "devices on each machine; they share each batch", at_least=1)
    precision: str = setting("auto", "auto, 32-true, bf16-mixed, 16-mixed", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class LearningOptions(TrainerSettings, LearningSettings, EncoderOptions):
    """How the weights learn."""


@dataclass(frozen=True, kw_only=True)
class WholeModelOptions(WholeModelSettings, LearningOptions):
    """How the weights of a whole model learn: all blocks, at one rate, and their running average is kept."""

    encoder: str = setting(
        defaults.ENCODER,
        "what to start from: a timm architecture (random weights), a bundled name, hf_hub:owner/name, or a "
        "checkpoint folder",
        metavar="NAME",
    )
    gradient_clip: float | None = with_default(TrainerSettings, "gradient_clip", defaults.GRADIENT_CLIP)
    ema_decay: float = with_default(TrainerSettings, "ema_decay", defaults.EMA_DECAY)


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions(Options):
    """How sure a model may be."""

    title: ClassVar[str] = "Calibration"

    calibrate: bool = setting(
        True,
        "after training, scale how sure the model is so that the validation galaxies bear it out: a tree's "
        "intervals, question by question, and the probabilities of classes and labels (a temperature); "
        "expected fractions, and which class is most likely, stay",
    )
    calibration_objective: Literal["auto", "likelihood", "coverage"] = setting(
        defaults.CALIBRATION_OBJECTIVE,
        "tree: calibrate for the likelihood of the votes, for the coverage of 90% intervals, or (auto) for "
        "the likelihood unless that leaves the coverage off",
    )
