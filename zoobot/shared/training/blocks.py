"""Which of an encoder's parameters learn, how fast, and which of them decay: one plan for both engines.

An encoder is a stack of blocks, bottom (next to the pixels) to top (next to the head). An engine finds them;
this file decides what finetuning does with them. Parameter names are timm's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from zoobot.shared.errors import ConfigError, EncoderError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Fewer blocks than this say too little about a network: its parts are then opened one level further.
MIN_BLOCKS = 4

#: Learned tokens and position tables are addresses more than weights: to shrink them is to blur them.
NO_DECAY = frozenset(
    {"cls_token", "pos_embed", "dist_token", "reg_token", "mask_token", "relative_position_bias_table"}
)


class Block(NamedTuple):
    """One part of an encoder that is frozen or trained as a whole."""

    name: str
    parameters: tuple[str, ...]


class ParameterPlan(NamedTuple):
    """How one parameter learns: at `lr_factor` times the learning rate, with weight decay or without."""

    lr_factor: float
    decays: bool


def plan_training(
    blocks: Sequence[Block],
    shapes: Mapping[str, Sequence[int]],
    *,
    n_blocks: int | Literal["all"],
    lr_decay: float,
) -> dict[str, ParameterPlan]:
    """The encoder parameters that learn, and how; those it does not name stay frozen.

    The head learns at the full rate. The top block learns at `lr_decay` of it, the block below at
    `lr_decay**2`, and so on down, for `n_blocks` blocks.

    Args:
        blocks: The encoder's blocks, bottom to top.
        shapes: The shape of every parameter of the encoder, in any layout.
        n_blocks: How many blocks learn, counted from the top: 0 is none of them, "all" is every one.
        lr_decay: Learning rate of a block over that of the block above it, in (0, 1].

    Returns:
        Parameter name → plan, top block first.

    Raises:
        ConfigError: If there are fewer blocks than asked for, or lr_decay lies outside (0, 1].
        EncoderError: If the blocks do not hold every parameter exactly once.

    Example:
        >>> blocks = [Block("stem", ("stem.weight",)), Block("top", ("top.weight", "top.bias"))]
        >>> shapes = {"stem.weight": (8, 3, 4, 4), "top.weight": (16, 8), "top.bias": (16,)}
        >>> plan_training(blocks, shapes, n_blocks=1, lr_decay=0.5)["top.bias"]
        ParameterPlan(lr_factor=0.5, decays=False)
    """
    if not 0 < lr_decay <= 1:
        raise ConfigError(f"lr_decay must be in (0, 1], got {lr_decay!r}")
    check_blocks(blocks, shapes)
    plan = {}
    trainable = reversed(blocks[len(blocks) - count_trainable_blocks(blocks, n_blocks) :])
    for depth, block in enumerate(trainable, start=1):
        for name in block.parameters:
            plan[name] = ParameterPlan(lr_decay**depth, decays(name, shapes[name]))
    return plan


def lowest_learning_block(blocks: Sequence[Block], plan: Mapping[str, ParameterPlan]) -> Block | None:
    """The lowest block that learns above a frozen one; None if nothing learns, or everything.

    Args:
        blocks: The encoder's blocks, bottom to top.
        plan: What `plan_training` made for them.

    Example:
        >>> blocks = [Block("stem", ("stem.weight",)), Block("top", ("top.weight",))]
        >>> lowest_learning_block(blocks, {"top.weight": ParameterPlan(1.0, True)}).name
        'top'
    """
    learning = [block for block in blocks if block.parameters[0] in plan]
    return learning[0] if 0 < len(learning) < len(blocks) else None


def count_trainable_blocks(blocks: Sequence[Block], n_blocks: int | Literal["all"]) -> int:
    """How many blocks `n_blocks` means for this encoder.

    Raises:
        ConfigError: If it is not a whole number from 0 to the number of blocks, nor "all".
    """
    if n_blocks == "all":
        return len(blocks)
    whole = isinstance(n_blocks, int) and not isinstance(n_blocks, bool)
    if not whole or not 0 <= n_blocks <= len(blocks):
        names = ", ".join(block.name for block in blocks)
        raise ConfigError(
            f"n_blocks must be a whole number from 0 (head only) to {len(blocks)}, or 'all', "
            f"got {n_blocks!r}; this encoder's blocks, bottom to top: {names}"
        )
    return n_blocks


def decays(name: str, shape: Sequence[int]) -> bool:
    """Whether weight decay may shrink this parameter: not norms, biases and other vectors, nor tokens.

    Example:
        >>> decays("stages.0.blocks.0.norm.weight", (40,)), decays("head.weight", (1, 640))
        (False, True)
    """
    return len(shape) > 1 and name.rpartition(".")[2] not in NO_DECAY


def check_blocks(blocks: Sequence[Block], names: Mapping[str, object] | Sequence[str]) -> None:
    """Raise unless the blocks hold every parameter exactly once.

    Raises:
        EncoderError: Naming the parameters that no block, or more than one block, holds.
    """
    held = [name for block in blocks for name in block.parameters]
    missing = sorted(set(names) - set(held))
    unknown = sorted(set(held) - set(names))
    repeated = sorted({name for name in held if held.count(name) > 1}) if len(set(held)) < len(held) else []
    if missing or unknown or repeated:
        raise EncoderError(
            "an encoder's blocks must hold each of its parameters exactly once; "
            f"in no block: {missing[:10]}, not in the encoder: {unknown[:10]}, repeated: {repeated[:10]}"
        )


def blocks_under(paths: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> tuple[Block, ...]:
    """One block for each path that holds a matrix or kernel; parameters beside them join the one before.

    Args:
        paths: Module paths, bottom to top.
        shapes: Name → shape of every parameter.

    Example:
        >>> [block.name for block in blocks_under(["conv", "norm"], {"conv.w": (8, 3), "norm.w": (8,)})]
        ['conv']
    """
    blocks: list[Block] = []
    waiting: tuple[str, ...] = ()
    held = {path: tuple(name for name in shapes if _is_under(name, path)) for path in paths}
    bare = tuple(name for name in shapes if not any(name in names for names in held.values()))
    for path, names in [("", bare), *held.items()]:
        if path and any(len(shapes[name]) > 1 for name in names):
            blocks.append(Block(path, waiting + names))
            waiting = ()
        elif blocks:
            blocks[-1] = Block(blocks[-1].name, blocks[-1].parameters + names)
        else:
            waiting += names
    return tuple(blocks) if not waiting else (Block("encoder", waiting),)


def _is_under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
