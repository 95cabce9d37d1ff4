"""Galaxies that tests make themselves: bright disks and faint ones, with labels of every kind."""

import cv2
import numpy as np
import pandas as pd

SIZE_PIX = 32
ENCODER = "test_resnet"


def write_galaxies(folder, n_galaxies=24, seed=0):
    """A folder of images and its catalog: even galaxies are round, odd ones are edge-on."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n_galaxies):
        edge_on = i % 2
        image = rng.integers(0, 40, (SIZE_PIX, SIZE_PIX, 3), dtype=np.uint8)
        axes = (11, 3) if edge_on else (8, 8)
        cv2.ellipse(image, (16, 16), axes, float(rng.uniform(0, 180)), 0, 360, (230, 220, 200), -1)
        cv2.imwrite(str(folder / f"{i}.png"), image)
        yes, no = (18, 2) if edge_on else (1, 19)
        rows.append(
            {
                "id_str": f"galaxy-{i}",
                "file_loc": f"{i}.png",
                "edge_on": edge_on,
                "round": 1 - edge_on,
                "axis_ratio": 0.27 if edge_on else 1.0,
                "flux": np.nan if i % 5 == 4 else 100.0 + 50 * edge_on,
                "shape_edge-on": yes,
                "shape_round": no,
                "bar_yes": 0 if edge_on else 5,
                "bar_no": 0 if edge_on else 14,
            }
        )
    path = folder / "catalog.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path
