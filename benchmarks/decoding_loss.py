"""What decoding a JPEG no finer than needed costs in quality and saves in time, for `bench_loader.py`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.picture_formats import decode_jpeg
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.source_pixels import ViewNeeds

__all__ = ["compare_decoding", "print_comparison"]

SIZES_PIX = (224, 128, 96, 64)
"""Network inputs: the usual, where colour alone is decoded roughly, and smaller, at reduced scale."""


def compare_decoding(paths: list[str]) -> list[dict[str, float]]:
    """For each size, PSNR of training views from reduced against full decoding, and the CPU time of both."""
    contents = [Path(path).read_bytes() for path in paths]
    rows = []
    for size_pix in SIZES_PIX:
        record, augmentation = Preprocessing(image_size_pix=size_pix), Augmentation()
        least = ViewNeeds.of(record, augmentation).least_side_pix
        ratios = []
        for number, content in enumerate(contents):
            full, reduced = decode_jpeg(content), decode_jpeg(content, least_side_pix=least)
            views = [
                make_view(image, record, augmentation, galaxy_id=str(number)) for image in (full, reduced)
            ]
            ratios.append(psnr(*views))
        rows.append(
            {
                "image_size_pix": size_pix,
                "shrink": full.shape[0] // reduced.shape[0],
                "psnr_db_median": float(np.median(ratios)),
                "psnr_db_least": min(ratios),
                "full_cpu_ms": cpu_ms(contents, None),
                "reduced_cpu_ms": cpu_ms(contents, least),
            }
        )
    return rows


def psnr(view: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels; 8-bit images, so the peak is 255."""
    error = np.mean((view.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def cpu_ms(contents: list[bytes], least_side_pix: float | None) -> float:
    """CPU milliseconds for one image, the median of five passes."""
    passes = []
    for _ in range(5):
        start = time.process_time()
        for content in contents:
            decode_jpeg(content, least_side_pix=least_side_pix)
        passes.append(1e3 * (time.process_time() - start) / len(contents))
    return float(np.median(passes))


def print_comparison(rows: list[dict[str, float]]) -> None:
    print("\nJPEGs decoded no finer than the network input needs, against full decoding\n")
    print(f"{'input':>8}{'scale':>8}{'PSNR, median':>15}{'least':>8}{'CPU ms, full':>15}{'reduced':>10}")
    for row in rows:
        quality = f"{row['psnr_db_median']:>12.1f} dB{row['psnr_db_least']:>8.1f}"
        times = f"{row['full_cpu_ms']:>15.3f}{row['reduced_cpu_ms']:>10.3f}"
        print(f"{row['image_size_pix']:>5.0f} px{'1/':>7}{row['shrink']:.0f}{quality}{times}")
