"""What a training run says before its first step: what it will do, to whom, and a picture of what it sees."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoobot import plots
from zoobot.options.train import TrainOptions
from zoobot.shared import defaults
from zoobot.shared.augment import make_view
from zoobot.shared.counting_bar import duration, tell
from zoobot.shared.errors import ImageError
from zoobot.shared.galaxy_data import labels_of
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import describe_pixels
from zoobot.shared.training.blocks import count_trainable_blocks
from zoobot.workflow.pictures import attempt_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zoobot.options.finetune import FinetuneOptions
    from zoobot.shared.augment import Augmentation
    from zoobot.shared.engine import Model, Trainer
    from zoobot.shared.galaxy_data import GalaxyData
    from zoobot.shared.tasks import Task

logger = logging.getLogger(__name__)

_SHOWN = 6  # galaxies in the picture
_VIEWS = 3  # of each, as in training
_LOOKS = 3  # of which the quickest counts: others waited for the machine
_STEP_BY_LOOK = 3.0  # learning from an image takes about three times as long as looking at it


def tell_what_starts(
    options: FinetuneOptions | TrainOptions,
    trainer: Trainer,
    model: Model,
    galaxies: GalaxyData,
    folder: Path,
) -> list[str]:
    """Say what a run will do, in a few lines that are returned too, and draw what it looks at.

    Nothing here can fail a run: what can't be read, drawn or measured is said to be so.

    Args:
        options: What was asked.
        trainer: What will train.
        model: What will learn; it has met the galaxies.
        galaxies: The galaxies, split.
        folder: The run's folder.
    """
    augmentation = _augmentation_of(trainer, model, galaxies)
    views, seconds_to_read = _read_views(model, galaxies, augmentation)
    facts = {
        "galaxies": _galaxies_in_words(options, galaxies),
        "task": _task_in_words(options, model.task),
        **model.task.describe_labels(labels_of(galaxies.train_galaxies)),
        "training": _augmentation_in_words(augmentation, galaxies),
        "learns": _learning_in_words(model),
        "epochs": _epochs_in_words(options, trainer, model),
        "time": _time_in_words(options, trainer, model, galaxies, views, seconds_to_read),
    }
    picture = attempt_picture(folder / "inputs", options.figures, _draw, views)
    if picture is not None:
        facts["picture"] = f"{picture}: what the network looks at"
    origin = getattr(model.encoder, "origin", None)
    lines = ["What will happen", *(f"  {name:<13}  {words}" for name, words in facts.items())]
    lines += describe_pixels(model.preprocessing, origin.pixels if origin else "").splitlines()
    for line in lines:
        tell(line)
    return lines


def _galaxies_in_words(options: Any, galaxies: GalaxyData) -> str:
    called = {"train": "to learn from", "val": "to validate on", "test": "to test on"}
    split = galaxies.record()["train"].get("split")
    sizes = ", ".join(f"{len(part):,} {called[name]}" for name, part in galaxies.galaxies.items())
    return f"{sizes}; {_split_in_words(options, split)}"


def _split_in_words(options: Any, split: str | None) -> str:
    """Where the split came from; `split` is what the galaxies' record says of it."""
    if split is None:
        return "each from a catalog of its own"
    if split.startswith("column "):
        return f"as {split} says"
    chosen = "" if options.split is not None else " (--split says otherwise)"
    return f"split: {split}, seed {options.seed}{chosen}"


def _task_in_words(options: Any, task: Task) -> str:
    if task.tree is not None:
        questions = len(task.tree.questions)
        return f"tree: volunteers' votes on {questions} questions of {task.tree.name}, as asked"
    columns = ", ".join(task.label_cols)
    why = "as asked" if options.task is not None else "since --task says nothing else"
    return f"{task.kind} of {columns}, {why}"


def _augmentation_of(trainer: Trainer, model: Model, galaxies: GalaxyData) -> Augmentation | None:
    """How training images will vary; not at all where each galaxy is encoded once for all epochs."""
    part = model.frozen_part() if trainer.world_size == 1 else None
    once = part is not None and part.ahead and part.views == 1
    return None if once else galaxies.augmentation


def _augmentation_in_words(augmentation: Augmentation | None, galaxies: GalaxyData) -> str:
    if augmentation is None:
        once = galaxies.augmentation is not None
        return "images as they are" + (": each is encoded once, for all epochs" if once else "")
    low, high = augmentation.zoom
    ways = [
        "turned" if augmentation.rotate else "",
        "mirrored" if augmentation.flip else "",
        f"zoomed {low:g} to {high:g} times" if (low, high) != (1, 1) else "",
        f"shifted up to {augmentation.shift:.0%}" if augmentation.shift else "",
        f"{augmentation.erase_probability:.0%} with a patch erased" if augmentation.erase_probability else "",
        f"{augmentation.look_probability:.0%} with another look" if augmentation.look_probability else "",
    ]
    return "images are " + (", ".join(filter(None, ways)) or "as they are")


def _learning_in_words(model: Model) -> str:
    learning, total = model.parameter_counts()
    blocks = count_trainable_blocks(model.encoder.blocks, model.settings.n_blocks)
    of = f"{learning:,} of {total:,} weights"
    if not blocks:
        return f"the head alone: {of}"
    return f"the head and {blocks} of the encoder's {len(model.encoder.blocks)} blocks: {of}"


def _epochs_in_words(options: Any, trainer: Trainer, model: Model) -> str:
    part = model.frozen_part() if trainer.world_size == 1 else None
    finds_head = part is not None and part.ahead and model.head.is_untrained
    if finds_head and options.max_epochs is None and not model.needs_epochs:
        return "none: the head's best weights are found at once (--max-epochs N trains on from there)"
    patience = f"; ends after {options.patience:,} without a better val_loss"
    most = _most_epochs(options)
    return f"at most {most:,}{patience if options.patience < most else ''}"


def _most_epochs(options: Any) -> int:
    return defaults.MAX_EPOCHS if options.max_epochs is None else int(options.max_epochs)


class _Views:
    """Some training galaxies as the network sees them.

    Attributes:
        ids: The galaxies.
        plain: Each as in evaluation.
        varied: Views of each as in training; empty where training shows them plain.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.plain: list[np.ndarray] = []
        self.varied: list[list[np.ndarray]] = []


def _read_views(
    model: Model, galaxies: GalaxyData, augmentation: Augmentation | None
) -> tuple[_Views, float]:
    """A few galaxies drawn by the seed, and the seconds that it took to read one."""
    train, pixels, views = galaxies.train_galaxies, model.preprocessing, _Views()
    order = np.random.default_rng(galaxies.seed).permutation(len(train))[: 2 * _SHOWN]
    seconds = 0.0
    for row in order:
        if len(views.ids) == _SHOWN:
            break
        started = time.monotonic()
        try:
            image = read_image(train.paths[row], pixels)
        except ImageError as error:
            logger.warning("no picture of %s: %s", train.ids[row], error)
            continue
        plain = make_view(image, pixels)
        seconds += time.monotonic() - started
        key = {"seed": galaxies.seed, "galaxy_id": train.ids[row]}
        of_epochs = range(_VIEWS if augmentation else 0)
        views.ids.append(train.ids[row])
        views.plain.append(plain)
        views.varied.append([make_view(image, pixels, augmentation, epoch=e, **key) for e in of_epochs])
    return views, seconds / max(1, len(views.ids))


def _draw(views: _Views) -> Figure | None:
    """Each galaxy as in evaluation, and beside it as in the first epochs of training."""
    images, names = [], []
    for galaxy, plain, varied in zip(views.ids, views.plain, views.varied, strict=True):
        images += [plain, *varied]
        names += [f"{galaxy}" if not varied else f"{galaxy}, as it is"]
        names += [f"in epoch {number}" for number in range(1, 1 + len(varied))]
    if not images:
        return None
    columns = 1 + _VIEWS if views.varied[0] else len(views.ids) // 2 or 1
    return plots.contact_sheet(images, names, columns=columns)


def _seconds_to_look(model: Model, images: np.ndarray) -> float:
    started = time.monotonic()
    model.encode_images(images)
    return time.monotonic() - started


def _time_in_words(
    options: Any, trainer: Trainer, model: Model, galaxies: GalaxyData, views: _Views, seconds_to_read: float
) -> str:
    """About how long the run may take, from a look at a few galaxies; where that says nothing, nothing."""
    if not trainer.on_cpu or trainer.world_size > 1 or not views.plain:
        return "told after the first epoch"
    images = np.stack([one.astype(views.plain[0].dtype) for one in views.plain])
    model.encode_images(images)  # what is made for the first look at a batch of this size, alone
    look = min(_seconds_to_look(model, images) for _ in range(_LOOKS)) / len(images)
    read = seconds_to_read / max(1, options.num_workers)
    train, val = len(galaxies.train_galaxies), len(galaxies.val_galaxies)
    part = model.frozen_part()
    if part is not None and part.ahead:
        once = duration((train * part.views + val) * (read + look))
        return f"about {once} to encode all galaxies once, then the head learns (a rough guess)"
    learning, total = model.parameter_counts()
    step = look * (1 + (_STEP_BY_LOOK - 1) * learning / total)
    epoch = train * (read + step) + val * (read + look)
    return (
        f"about {duration(epoch)} an epoch, {duration(epoch * _most_epochs(options))} for all (a rough guess)"
    )
