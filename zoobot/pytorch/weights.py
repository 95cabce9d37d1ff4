"""Move PyTorch weights to NumPy arrays under timm's names, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import timm
import torch
from torch import nn

from zoobot.shared.models.neutral import describe_encoder
from zoobot.shared.models.weights import check_weights_fit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoobot.pytorch.encoder import Encoder


def encoder_fields(encoder: Encoder) -> dict[str, Any]:
    """All that a `NeutralCheckpoint` says of an encoder, to pass as keyword arguments.

    Example:
        >>> from zoobot.pytorch.encoders import load_encoder
        >>> from zoobot.shared.checkpoint import NeutralCheckpoint
        >>> fields = encoder_fields(load_encoder("convnext_atto", image_size_pix=64))
        >>> NeutralCheckpoint(**fields).num_features
        320
    """
    known = getattr(encoder.model, "pretrained_cfg", None) or {}
    registered = timm.get_pretrained_cfg(encoder.architecture) if known else None
    return describe_encoder(
        encoder,
        encoder_state(encoder),
        first_conv=registered.first_conv if registered else None,
        classifier=registered.classifier if registered else None,
        fixed_input_size=bool(registered and registered.fixed_input_size),
        versions={"torch": str(torch.__version__), "timm": timm.__version__},
    )


def encoder_state(encoder: Encoder) -> dict[str, np.ndarray]:
    """The encoder's parameters and norm statistics under timm's names."""
    return module_state(encoder.model)


def load_encoder_state(encoder: Encoder, arrays: Mapping[str, np.ndarray]) -> None:
    """Put arrays back into an encoder of the same architecture.

    Raises:
        CheckpointError: If an array is missing, unknown, or has another shape; nothing is changed then.
    """
    load_module_state(encoder.model, arrays, name=f"encoder {encoder.architecture}")


def module_state(module: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and buffers of any module as arrays, copied; bfloat16 becomes float32."""
    return {name: _to_numpy(tensor) for name, tensor in module.state_dict().items()}


def load_module_state(module: nn.Module, arrays: Mapping[str, np.ndarray], *, name: str) -> None:
    """Put arrays back into a module, all of them or none.

    Args:
        module: Receives the values, in its own types and on its own devices.
        arrays: By the module's parameter names.
        name: What the module is, for the message.

    Raises:
        CheckpointError: If an array is missing, unknown, or has another shape; nothing is changed then.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    check_weights_fit(arrays, shapes, name=name)
    module.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in arrays.items()})


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()
