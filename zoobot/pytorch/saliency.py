"""Which pixels made a PyTorch model say so: the gradients of one answer, and explanations over a catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoobot.pytorch import checkpoint
from zoobot.pytorch.data import turned
from zoobot.pytorch.devices import BestDevice
from zoobot.pytorch.learner import FinetuneableZoobot
from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.errors import EncoderError
from zoobot.shared.explaining.explanations import Explanations, Probe
from zoobot.shared.explaining.saliency import METHODS, Baseline, Method, PickedAnswer
from zoobot.shared.pixels.turned import mean_of_views

__all__ = ["explain", "image_gradients", "map_gradients"]


def explain(
    catalog: CatalogSource,
    model: FinetuneableZoobot | str | Path,
    *,
    answer: str | None = None,
    methods: Sequence[Method] = METHODS,
    baseline: Baseline = "black",
    steps: int = defaults.SALIENCY_STEPS,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    progress: bool = True,
) -> Explanations:
    """Which pixels of each galaxy of a catalog made a model give one answer: to be iterated over.

    Maps are in the geometry of the images themselves, whatever part of them the model sees, and at which
    scale.

    Args:
        catalog: A table of ids and image files; labels are not needed.
        model: A model, or the folder of its checkpoint.
        answer: A class, label, target, or a tree's answer such as "bar_yes"; of a tree's question the most
            likely answer; None is the most likely of all, of a tree's first question, or the only target.
        methods: "integrated-gradients", "grad-cam", or both.
        baseline: What integrated gradients begin with: "black", an empty sky; or "blurred", the galaxy's
            light without its structure.
        steps: Points of integrated gradients between the baseline and the image. Twice or four times as many
            are taken where these do not add up to the difference, to a twentieth of it.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Points at once; None is 32 on a CPU and 256 on a GPU.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Returns:
        `zoobot.shared.explaining.explanations.Explanations`, which gives an `Explanation` for each galaxy,
        and lists the images that could not be read in `failures`.

    Raises:
        CheckpointError: If a folder holds no model.
        CatalogError: If the catalog can't be used.
        ConfigError: If the model has no such answer, or an option can't work.
        EncoderError: While iterating, if Grad-CAM finds no feature maps in the encoder.
        ImageError: While iterating, if not one image could be read.
        NonFiniteError: While iterating, if a prediction or a map is NaN or infinite.

    References:
        Sundararajan, Taly & Yan 2017, ICML (arXiv:1703.01365): integrated gradients.
        Selvaraju et al. 2017, ICCV (arXiv:1610.02391): Grad-CAM.

    Example:
        >>> for galaxy in explain("new.csv", "results/rings", answer="ring"):  # doctest: +SKIP
        ...     print(galaxy.id_str, galaxy.value, galaxy.maps["grad-cam"].shape)
    """
    if isinstance(model, (str, Path)):
        model = checkpoint.load(model)
    probe = Probe(
        predict=partial(_predict, model),
        image_gradients=partial(image_gradients, model=model),
        map_gradients=partial(map_gradients, model=model),
        device=BestDevice(),
    )
    return Explanations(
        catalog,
        model,
        probe,
        answer=answer,
        methods=methods,
        baseline=baseline,
        steps=steps,
        batch_size=batch_size,
        root=root,
        id_col=id_col,
        file_col=file_col,
        num_workers=num_workers,
        progress=progress,
    )


def image_gradients(
    images: NDArray, answer: PickedAnswer, model: FinetuneableZoobot
) -> tuple[NDArray, NDArray]:
    """What a model says of an answer, (batch,), and its gradients with respect to the pixels.

    Args:
        images: (batch, height, width, channels), float in [0, 1].
        answer: One of `zoobot.shared.explaining.saliency.find_answers`.
        model: A model; it is left as it was.

    Returns:
        The values, and gradients of the images' shape.
    """
    with _differentiable(model):
        pixels = _to_tensor(images, model).requires_grad_()
        features = mean_of_views(
            lambda view: model.encoder(_normalised(view, model)), pixels, model.preprocessing.views, turned
        )
        raw = model.head(features)
        values = _value(model.head.to_predictions(raw), answer)
        (gradients,) = torch.autograd.grad(values.sum(), pixels)
    return _to_numpy(values), _to_numpy(gradients)


def map_gradients(
    images: NDArray, answer: PickedAnswer, model: FinetuneableZoobot
) -> tuple[NDArray, NDArray]:
    """An encoder's last feature maps of one view, and the gradients of an answer's score by them.

    The score is what the answer's value is made of: a logit, an expected fraction, a standardised target. Of
    a vision transformer the tokens are given that enter the attention of its last block: after it, those of
    the patches no longer matter.

    Args:
        images: (batch, height, width, channels), float in [0, 1].
        answer: One of `zoobot.shared.explaining.saliency.find_answers`.
        model: A model; it is left as it was.

    Returns:
        Maps and gradients, both (batch, rows, columns, channels), or (batch, tokens, channels).

    Raises:
        EncoderError: If the encoder has no such maps.
    """
    with _differentiable(model):
        pixels = _normalised(_to_tensor(images, model), model).requires_grad_()
        maps, features = _last_maps(model.encoder.model, pixels)
        raw = model.head(features)
        score = raw[:, answer.column] if answer.question is None else _value(raw, answer)
        (gradients,) = torch.autograd.grad(score.sum(), maps)
    found = _to_numpy(maps), _to_numpy(gradients)
    if maps.ndim == 3 or getattr(model.encoder.model, "output_fmt", "NCHW") == "NHWC":
        return found
    return found[0].transpose(0, 2, 3, 1), found[1].transpose(0, 2, 3, 1)


def _predict(model: FinetuneableZoobot, images: NDArray) -> NDArray:
    return _to_numpy(model.predict_images(torch.from_numpy(images).to(model.pixel_mean.device))[0])


def _value(predictions: Tensor, answer: PickedAnswer) -> Tensor:
    """`PickedAnswer.value` for tensors."""
    value = predictions[:, answer.column]
    return value if answer.question is None else value / predictions[:, answer.question].sum(dim=1)


@contextmanager
def _differentiable(model: FinetuneableZoobot) -> Iterator[None]:
    """A model as in prediction, and gradients, for a while."""
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        model.train(was_training)


def _to_tensor(images: NDArray, model: FinetuneableZoobot) -> Tensor:
    mean = model.pixel_mean
    return torch.tensor(np.ascontiguousarray(images), dtype=mean.dtype, device=mean.device)


def _normalised(images: Tensor, model: FinetuneableZoobot) -> Tensor:
    return (images.permute(0, 3, 1, 2) - model.pixel_mean) / model.pixel_std


def _to_numpy(tensor: Tensor) -> NDArray:
    return tensor.detach().float().cpu().numpy()


def _last_maps(network: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The last feature maps, and the features that are made of them."""
    if not hasattr(network, "forward_features"):
        return _watch(network, pixels, list(network.modules()), _is_map)
    maps = network.forward_features(pixels)
    if maps.ndim == 4:
        return maps, network.forward_head(maps)
    entry = getattr(network.blocks[-1], "norm1", None) if hasattr(network, "blocks") else None
    if entry is None:
        raise EncoderError(f"Grad-CAM finds no feature maps in this encoder ({type(network).__name__})")
    return _watch(network, pixels, [entry], lambda output: output.ndim == 3)


def _is_map(output: Tensor) -> bool:
    return output.ndim == 4 and output.shape[2] * output.shape[3] > 1


def _watch(
    network: nn.Module, pixels: Tensor, modules: list[nn.Module], is_wanted: Callable[[Tensor], bool]
) -> tuple[Tensor, Tensor]:
    """The last wanted output of some modules, and the features of the whole network."""
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and is_wanted(output):
            seen[:] = [output]

    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        features = network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise EncoderError(f"Grad-CAM finds no feature maps in this encoder ({type(network).__name__})")
    return seen[0], features
