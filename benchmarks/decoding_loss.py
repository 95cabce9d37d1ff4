"""What decoding a JPEG no finer than needed costs in quality and saves in time, for `bench_loader.py`."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from zoobot.shared.augment import Augmentation, draw_warp, make_view
from zoobot.shared.pixels.images import ViewNeeds
from zoobot.shared.pixels.picture_formats import decode_jpeg
from zoobot.shared.preprocessing import Preprocessing

__all__ = ["compare_decoding", "print_comparison"]

SIZES_PIX = (224, 128, 96, 64)
"""Network inputs: the usual, where colour alone is decoded roughly, and smaller, at reduced scale."""


SAMPLES = 9
"""Samples of an image along each side of a view's pixel, for the exact view."""


def compare_decoding(paths: list[str]) -> list[dict[str, float]]:
    """For each size, how near to exact ones views are after full and coarse decoding; and CPU times."""
    contents = [Path(path).read_bytes() for path in paths]
    rows = []
    for size_pix in SIZES_PIX:
        record, augmentation = Preprocessing(image_size_pix=size_pix), Augmentation()
        least = ViewNeeds.of(record, augmentation).least_side_pix
        ratios = []
        for number, content in enumerate(contents):
            full, coarse = decode_jpeg(content), decode_jpeg(content, least_side_pix=least)
            key = {"seed": 0, "epoch": 0, "galaxy_id": str(number)}
            exact = resample_exactly(full, draw_warp(augmentation, record, full.shape, **key), size_pix)
            views = [make_view(image, record, augmentation, **key) for image in (full, coarse)]
            ratios.append([psnr(views[0], exact), psnr(views[1], exact), psnr(*views)])
        medians = np.median(ratios, axis=0)
        rows.append(
            {
                "image_size_pix": size_pix,
                "shrink": full.shape[0] // coarse.shape[0],
                "psnr_db_full_exact": float(medians[0]),
                "psnr_db_coarse_exact": float(medians[1]),
                "psnr_db_full_coarse": float(medians[2]),
                "cpu_ms_full": cpu_ms(contents, None),
                "cpu_ms_coarse": cpu_ms(contents, least),
            }
        )
    return rows


def resample_exactly(image: np.ndarray, matrix: np.ndarray, size_pix: int) -> np.ndarray:
    """A view whose pixels are means of many samples of the image, weighted by a triangle two pixels wide."""
    many = SAMPLES
    fine = np.column_stack(
        [matrix[:, :2] / many, matrix[:, 2] + matrix[:, :2].sum(axis=1) * (1 / many - 1) / 2]
    )
    samples = cv2.warpAffine(
        image.astype(np.float32),
        fine,
        (size_pix * many, size_pix * many),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    triangle = np.convolve(np.ones(many + 1), np.ones(many + 1)) / (many + 1) ** 2
    return cv2.sepFilter2D(samples, -1, triangle, triangle)[many // 2 :: many, many // 2 :: many]


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
    print("\nJPEGs decoded no finer than the network input needs: PSNR of training views, medians in dB\n")
    heads = f"{'full, exact':>13}{'coarse, exact':>15}{'full, coarse':>14}{'CPU ms, full':>14}{'coarse':>8}"
    print(f"{'input':>8}{'scale':>7}{heads}")
    for row in rows:
        quality = f"{row['psnr_db_full_exact']:>13.1f}{row['psnr_db_coarse_exact']:>15.1f}"
        quality += f"{row['psnr_db_full_coarse']:>14.1f}"
        times = f"{row['cpu_ms_full']:>14.3f}{row['cpu_ms_coarse']:>8.3f}"
        print(f"{row['image_size_pix']:>5.0f} px{'1/':>6}{row['shrink']:.0f}{quality}{times}")
