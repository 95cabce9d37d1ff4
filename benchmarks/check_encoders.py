"""Compare the features of the TensorFlow engine's encoders with timm's, for every architecture.

    python benchmarks/check_encoders.py                       # all, 128 and 224 pixels
    python benchmarks/check_encoders.py resnet18 convnext_nano --sizes 128

Every parameter and norm statistic gets a value of its own, so that a lost or swapped one shows. Prints the
largest difference over the largest feature, and whether the weights came back bit by bit.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import timm
import torch

from zoobot.shared.architectures import architecture_names, get_architecture
from zoobot.tensorflow.encoders import encoder_from_module
from zoobot.tensorflow.families import build_network
from zoobot.tensorflow.families.keras_settings import made_in, making_in
from zoobot.tensorflow.weights import encoder_state, load_encoder_state

#: Differences above this, relative to the largest feature, are a failure.
TOLERANCE = 1e-4


def randomise(model: torch.nn.Module, channels: int, size: int, *, seed: int = 0) -> torch.nn.Module:
    """Give a timm model weights and statistics that are all different and let signals pass, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("gamma"):
                parameter.copy_(0.3 + 0.1 * noise)
            elif parameter.ndim >= 2 and name.endswith("weight"):
                parameter.copy_(noise * (1.5 / parameter[0].numel()) ** 0.5)
            elif name.endswith("weight"):
                parameter.copy_(0.6 + 0.1 * noise)
            else:
                parameter.copy_(0.2 * noise)
        for norm in norms_that_end_branches(model):
            norm.weight.mul_(0.3)  # or every block would double what rounding has done below it
        measure_statistics(model, torch.randn(8, channels, size, size, generator=generator))
    return model.eval()


def norms_that_end_branches(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The last batch norm of each residual branch."""
    blocks = [module for module in model.modules() if hasattr(module, "drop_path")]
    ends = [getattr(block, "bn3", None) or getattr(block, "bn2", None) for block in blocks]
    return [norm for norm in ends if norm is not None]


def measure_statistics(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Set running statistics to those of some images."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(images)
    for norm in norms:
        norm.momentum = 0.1


def compare(architecture: str, size: int) -> tuple[float, bool]:
    """The largest difference over the largest feature, and whether weights survive the way there and back.

    Both engines compute in the type that models are made in.
    """
    spec = get_architecture(architecture)
    options = {"img_size": size} if spec.fixed_image_size_pix else {}
    torch_model = randomise(timm.create_model(architecture, num_classes=0, **options), 3, size)
    images = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(made_in())
    if made_in() == "float64":
        torch_model.double()
    state = {name: tensor.numpy() for name, tensor in torch_model.state_dict().items()}
    encoder = encoder_from_module(build_network(spec, image_size_pix=size), image_size_pix=size)
    load_encoder_state(encoder, state)
    with torch.no_grad():
        expected = torch_model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    found = np.asarray(encoder(images))
    back = encoder_state(encoder)
    same = back.keys() == state.keys() and all(np.array_equal(back[name], state[name]) for name in state)
    return float(np.abs(found - expected).max() / np.abs(expected).max()), same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=architecture_names())
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224])
    parser.add_argument("--float64", action="store_true", help="shows what of a difference is rounding")
    options = parser.parse_args()
    with making_in("float64" if options.float64 else "float32"):
        return _check_all(options)


def _check_all(options: argparse.Namespace) -> int:
    failures = 0
    for architecture in options.architectures:
        for size in options.sizes:
            start = time.perf_counter()
            difference, same = compare(architecture, size)
            good = difference < TOLERANCE and same
            failures += not good
            print(
                f"{'ok  ' if good else 'FAIL'} {architecture:28s} {size:4d} pix  {difference:.1e}  "
                f"{'bit-exact' if same else 'CHANGED'}  {time.perf_counter() - start:5.1f} s",
                flush=True,
            )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
