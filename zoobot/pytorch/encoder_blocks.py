"""Find the blocks of any encoder, bottom to top, without a table of architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from zoobot.shared.training.blocks import MIN_BLOCKS, Block, blocks_under, check_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_blocks"]

_UNMATCHED = "\0unmatched"


def find_blocks(model: nn.Module) -> tuple[Block, ...]:
    """The blocks of an encoder, bottom to top, that hold each of its parameters exactly once.

    timm's models know their own stages (`group_matcher`); their bottom block is called "stem". What comes
    after the last stage (a final norm or convolution) belongs to the top block. The blocks of any other
    module are its children; a child that holds only norms belongs to the block before it.

    Args:
        model: A timm model, or any module.

    Raises:
        EncoderError: If some parameter is in no block, or in two.

    Example:
        >>> import timm
        >>> [block.name for block in find_blocks(timm.create_model("resnet18", num_classes=0))]
        ['stem', 'layer1', 'layer2', 'layer3', 'layer4']
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    groups = _timm_groups(model) if hasattr(model, "group_matcher") else []
    if groups:
        names = ["stem", *(_distinct_prefix(group, shapes) for group in groups[1:])]
        blocks = tuple(Block(name, tuple(group)) for name, group in zip(names, groups, strict=True))
    else:
        blocks = _blocks_of_children(model, shapes)
    check_blocks(blocks, shapes)
    return blocks


def _timm_groups(model: Any) -> list[list[str]]:
    """Parameter names by timm's stages, or, where these are few or not told, by its layers."""
    groups: list[list[str]] = []
    for coarse in (True, False):
        try:
            matcher = model.group_matcher(coarse=coarse)
        except AssertionError:  # how some timm models say that they have no coarse grouping
            continue
        groups = _matched_groups(model, matcher)
        if len(groups) >= MIN_BLOCKS:
            break
    return groups if len(groups) > 1 else []


def _matched_groups(model: nn.Module, matcher: Any) -> list[list[str]]:
    from timm.models import group_parameters

    names: Any = _NamesAndUnmatched(model)
    groups = list(group_parameters(names, matcher).values())
    loose = next(group for group in groups if _UNMATCHED in group)
    stages = [group for group in groups if group is not loose]
    if stages:
        stages[-1] = stages[-1] + [name for name in loose if name != _UNMATCHED]
    return stages


class _NamesAndUnmatched:
    """Parameter names with one more that no pattern matches: it shows where timm puts such names."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def named_parameters(self) -> Iterator[tuple[str, None]]:
        yield from ((name, None) for name, _ in self.model.named_parameters())
        yield _UNMATCHED, None


def _distinct_prefix(group: list[str], names: dict[str, Any]) -> str:
    """The shortest module path of a group's first parameter that leads to no other group's parameters."""
    others = set(names) - set(group)
    parts = group[0].split(".")
    prefixes = (".".join(parts[:n]) for n in range(1, len(parts)))
    return next((p for p in prefixes if not any(_is_under(name, p) for name in others)), group[0])


def _blocks_of_children(model: nn.Module, shapes: dict[str, tuple[int, ...]]) -> tuple[Block, ...]:
    paths = [name for name, _ in model.named_children()]
    blocks = blocks_under(paths, shapes)
    if len(blocks) < MIN_BLOCKS:
        paths = [path for name, child in model.named_children() for path in _opened(name, child)]
        blocks = blocks_under(paths, shapes)
    return blocks


def _opened(name: str, child: nn.Module) -> list[str]:
    if not isinstance(child, (nn.Sequential, nn.ModuleList)):
        return [name]
    return [f"{name}.{inner}" for inner, _ in child.named_children()]


def _is_under(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")
