"""Drifts planted in a copy of an engine, each of which the checker must complain of."""

from __future__ import annotations

import re
import types
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tensorflow as tf
    import torch


def make_engine(**changes):
    """A tiny engine, or one that has drifted."""

    def loss(logits: torch.Tensor, labels: torch.Tensor, *, kind: str = "mse") -> torch.Tensor: ...

    class Head:
        __module__ = "zoobot.fake"

        def __init__(self, num_features: int, *, dropout_prob: float = 0.5) -> None: ...

        def standardise(self, targets: torch.Tensor) -> torch.Tensor: ...

        @property
        def size(self) -> int: ...

        def forward(self, features: torch.Tensor) -> torch.Tensor: ...

    members = {"loss": loss, "Head": Head} | changes
    module = types.SimpleNamespace(**members, __all__=[name for name in members if members[name]])
    return types.SimpleNamespace(losses=module)


def longer_loss(logits: tf.Tensor, labels: tf.Tensor, *, kind: str = "mse", extra=1) -> tf.Tensor: ...
def other_default(logits: tf.Tensor, labels: tf.Tensor, *, kind: str = "mae") -> tf.Tensor: ...
def positional(logits: tf.Tensor, labels: tf.Tensor, kind: str = "mse") -> tf.Tensor: ...
def renamed(logits: tf.Tensor, targets: tf.Tensor, *, kind: str = "mse") -> tf.Tensor: ...
def swapped(labels: tf.Tensor, logits: tf.Tensor, *, kind: str = "mse") -> tf.Tensor: ...
def returns_more(logits: tf.Tensor, labels: tf.Tensor, *, kind: str = "mse") -> Sequence[tf.Tensor]: ...


class HeadBase:
    __module__ = "zoobot.fake"

    def __init__(self, num_features: int, *, dropout_prob: float = 0.5) -> None: ...

    def standardise(self, targets: tf.Tensor) -> tf.Tensor: ...

    @property
    def size(self) -> int: ...

    def call(self, features: tf.Tensor, training: bool | None = None) -> tf.Tensor: ...


class HeadWithMore(HeadBase):
    __module__ = "zoobot.fake"

    def rescale(self): ...


class HeadOfOtherArguments(HeadBase):
    __module__ = "zoobot.fake"

    def __init__(self, num_features: int, *, dropout: float = 0.5) -> None: ...


class HeadWhoseMethodDiffers(HeadBase):
    __module__ = "zoobot.fake"

    def standardise(self, targets: tf.Tensor, eps: float = 0.0) -> tf.Tensor: ...


class HeadWithMethodForProperty(HeadBase):
    __module__ = "zoobot.fake"

    def size(self) -> int: ...


def head_as_function(num_features: int, *, dropout_prob: float = 0.5) -> None: ...


def test_an_engine_that_differs_in_its_frameworks_words_only_is_no_drift(mirror):
    def loss(logits: tf.Tensor, labels: tf.Tensor, *, kind: str = "mse") -> tf.Tensor: ...

    assert mirror.differences(make_engine(), make_engine(loss=loss, Head=HeadBase), ["losses"]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"loss": longer_loss}, "extra"),
        ({"loss": other_default}, "'mae'"),
        ({"loss": positional}, "positional_or_keyword kind"),
        ({"loss": renamed}, "targets"),
        ({"loss": swapped}, "labels: Tensor = required, positional_or_keyword logits"),
        ({"loss": returns_more}, r"-> Sequence\[Tensor\]"),
        ({"loss": None}, "__all__"),
        ({"more_loss": longer_loss}, "__all__"),
        ({"Head": HeadWithMore}, r"Head.rescale: in one engine only"),
        ({"Head": HeadOfOtherArguments}, r"Head\(\)"),
        ({"Head": HeadWhoseMethodDiffers}, "Head.standardise"),
        ({"Head": HeadWithMethodForProperty}, "Head.size: property against function"),
        ({"Head": head_as_function}, "a class in one engine only"),
    ],
)
def test_a_planted_drift_is_caught(mirror, change, words):
    found = mirror.differences(make_engine(), make_engine(**change), ["losses"])
    assert len(found) == 1
    assert re.search(words, found[0]), found
