"""Write the list that encoders are recognised by: `python benchmarks/write_fingerprints.py`.

It holds those that Zoobot describes, and timm's families that only PyTorch has and people train Zoobot with.
"""

from __future__ import annotations

from pathlib import Path

import timm
import torch

from zoobot.shared import architectures

_FAMILIES = ("maxvit_*", "maxxvit_*", "coatnet_*", "convnext*", "swin_*", "swinv2_*", "efficientnetv2_*")


def main() -> None:
    """Build each architecture without memory for its weights, and write what its arrays are called."""
    names = [*architectures.architecture_names(), *timm.list_models(list(_FAMILIES))]
    rows = [f"# {timm.__version__} of timm"]
    for name in dict.fromkeys(names):
        with torch.device("meta"):
            state = timm.create_model(name, num_classes=0).state_dict()
        shapes = {key: tuple(array.shape) for key, array in state.items()}
        rows.append(f"{architectures.fingerprint(shapes)} {name}")
    Path(architectures.__file__).with_name("fingerprints.txt").write_text(
        "\n".join(rows) + "\n", encoding="ascii"
    )


if __name__ == "__main__":
    main()
