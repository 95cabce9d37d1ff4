"""How a guided run learns, and how sure its model may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.settings import Options, setting

__all__ = ["CalibrationOptions", "LearningOptions", "WholeModelOptions"]


@dataclass(frozen=True, kw_only=True)
class LearningOptions(Options):
    """How the weights learn."""

    title: ClassVar[str] = "Learning"

    encoder: str = setting(
        defaults.ENCODER,
        "pretrained encoder: a bundled name, hf_hub:owner/name, a checkpoint folder, or a timm architecture "
        "(random weights)",
        metavar="NAME",
    )
    n_blocks: int | Literal["all"] = setting(
        defaults.N_BLOCKS,
        "encoder blocks that learn, from the top; 0: the head alone (fast, few labels)",
        at_least=0,
    )
    activation_views: int = setting(
        defaults.ACTIVATION_VIEWS,
        "with some blocks learning and some frozen: keep what the frozen ones make of so many views of each "
        "galaxy, for later epochs; two to three times faster, with less varied images. 0: new views always",
        at_least=0,
    )
    max_epochs: int = setting(defaults.MAX_EPOCHS, "most passes over the training galaxies", at_least=1)
    patience: int = setting(
        defaults.PATIENCE, "stop after so many epochs without a better validation loss", at_least=1
    )
    learning_rate: float = setting(defaults.LEARNING_RATE, "AdamW's largest step, for the head", above=0)
    lr_decay: float = setting(
        defaults.LR_DECAY, "each block learns slower than the one above by this factor", above=0, at_most=1
    )
    weight_decay: float = setting(defaults.WEIGHT_DECAY, "pull of the weights towards zero", at_least=0)
    dropout_prob: float = setting(
        defaults.DROPOUT_PROB, "chance that a feature is left out while learning", at_least=0, below=1
    )
    schedule: Literal["cosine", "constant"] = setting(
        "cosine", "how the learning rate goes after the warm-up"
    )
    warmup_epochs: float = setting(
        defaults.WARMUP_EPOCHS, "epochs over which the learning rate rises from zero", at_least=0
    )
    gradient_clip: float | None = setting(
        None, "longest gradient, as a norm over all weights; without it, any", above=0
    )
    accumulate_batches: int = setting(
        1, "batches averaged for one step: large steps in little memory", at_least=1
    )
    ema_decay: float = setting(
        0.0,
        "keep a running average of the weights, with this share staying at each step",
        at_least=0,
        below=1,
    )
    checkpoint_minutes: float = setting(
        defaults.CHECKPOINT_MINUTES,
        "save the unfinished run within an epoch too, at least this often; SIGTERM and SIGUSR1 save and "
        "stop it",
        above=0,
    )
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = setting((), "where to log besides metrics.csv")
    accelerator: str = setting("auto", "auto, cpu, gpu, mps …", metavar="NAME")
    devices: int = setting(1, "devices on each machine; they share each batch", at_least=1)
    num_nodes: int = setting(1, "machines; under SLURM, its processes are found by themselves", at_least=1)
    precision: str = setting("auto", "auto, 32-true, bf16-mixed, 16-mixed", metavar="NAME")


@dataclass(frozen=True, kw_only=True)
class WholeModelOptions(LearningOptions):
    """How the weights of a whole model learn: all blocks, at one rate, and their running average is kept."""

    encoder: str = setting(
        defaults.ENCODER,
        "what to start from: a timm architecture (random weights), a bundled name, hf_hub:owner/name, or a "
        "checkpoint folder",
        metavar="NAME",
    )
    n_blocks: int | Literal["all"] = setting("all", "encoder blocks that learn, from the top", at_least=0)
    lr_decay: float = setting(
        1.0, "each block learns slower than the one above by this factor", above=0, at_most=1
    )
    learning_rate: float = setting(defaults.TRAIN_LEARNING_RATE, "AdamW's largest step", above=0)
    dropout_prob: float = setting(
        defaults.TRAIN_DROPOUT_PROB, "chance that a feature is left out while learning", at_least=0, below=1
    )
    gradient_clip: float | None = setting(
        defaults.GRADIENT_CLIP, "longest gradient, as a norm over all weights", above=0
    )
    ema_decay: float = setting(
        defaults.EMA_DECAY,
        "keep a running average of the weights, with this share staying at each step; 0: the weights",
        at_least=0,
        below=1,
    )


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
