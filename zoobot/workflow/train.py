"""The guided run that trains a whole model on the votes of one or many campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoobot.workflow.finetune import TrainingResult, learn

if TYPE_CHECKING:
    from zoobot.options.train import TrainOptions


def train(options: TrainOptions, *, command: str = "zoobot.workflow.train") -> TrainingResult | None:
    """Train a whole tree model on the votes of one or many campaigns, score it, and leave a results folder.

    The folder is like that of `finetune`, and its checkpoint is a good start for finetuning other tasks.

    Args:
        options: Everything that can be chosen. With `resume`, an unfinished run in `save_dir` goes on.
        command: How the run was started, for its record.

    Returns:
        As for `finetune`.

    Raises:
        ZoobotError: As for `finetune`.
    """
    return learn("train", options, command)
