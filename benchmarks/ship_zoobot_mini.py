r"""Make the bundled files of zoobot-mini from the trainings that `train_zoobot_mini.py` did.

    python benchmarks/ship_zoobot_mini.py --work runs/mini

Kernels are rounded to float16, which halves the file; norms, biases and the head stay float32. The head is
calibrated on the val galaxies with votes, of which training saw none. It learned from frames that were cut
for it; what is shipped expects those of Galaxy Zoo.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from mini_galaxies import FIELD_CROP_FRACTION, mini_schema

import zoobot
from zoobot import workflow
from zoobot.options import CalibrateOptions
from zoobot.shared.checkpoint import ENCODER_FILE, HEAD_FILE, read_checkpoint, write_checkpoint
from zoobot.shared.files.tensors import write_tensors

BUNDLED = Path(zoobot.__file__).parent / "bundled" / "zoobot-mini"
MOST_BYTES = 8 * 10**6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="the folder that train_zoobot_mini.py filled"
    )
    args = parser.parse_args()
    calibrated = args.work / "calibrated"
    write_checkpoint(calibrated, read_checkpoint(args.work / "settled"))
    options = CalibrateOptions(
        checkpoint=str(calibrated), catalog=str(args.work / "catalog.csv"), select="split=val", progress=False
    )
    print(workflow.calibrate(options).table)
    ship(calibrated)


def ship(folder: Path) -> None:
    """Write the bundled files; the model card that stands beside them stays."""
    whole = read_checkpoint(folder)
    card = BUNDLED / "README.md"
    text = card.read_text(encoding="utf-8")
    card.unlink()
    training = {"script": "benchmarks/train_zoobot_mini.py", **whole.training}
    training["calibration"]["catalog"] = Path(training["calibration"]["catalog"]).name  # not where it lay
    pixels = {**whole.preprocessing, "crop_fraction": FIELD_CROP_FRACTION}
    looks = {**whole.pretrained_cfg, "crop_pct": FIELD_CROP_FRACTION}
    errors = {**whole.conformal, "preprocessing": pixels}  # a frame's centre has the pixels of the field's
    bundled = replace(whole, training=training, preprocessing=pixels, pretrained_cfg=looks, conformal=errors)
    # The card says whence it came; nobody else's galaxies have the ids of these.
    write_checkpoint(BUNDLED, replace(bundled, origin=None, taught_by=None))
    card.write_text(text, encoding="utf-8")
    write_tensors(BUNDLED / ENCODER_FILE, {name: rounded(array) for name, array in whole.encoder.items()})
    size = sum((BUNDLED / name).stat().st_size for name in (ENCODER_FILE, HEAD_FILE, "config.json"))
    print(f"{BUNDLED}: {size / 1e6:.2f} MB, {len(mini_schema().label_cols)} answers")
    if size > MOST_BYTES:
        msg = f"the bundled files may have {MOST_BYTES} bytes, these have {size}"
        raise SystemExit(msg)


def rounded(array: np.ndarray) -> np.ndarray:
    """Kernels in half precision; what is one number a channel as it is."""
    return array.astype(np.float16) if array.ndim > 1 else array


if __name__ == "__main__":
    main()
