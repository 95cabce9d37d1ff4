"""FITS cubes in colour: bands are settled in training, kept in the checkpoint, and found again by name."""

import numpy as np
import pandas as pd
import pytest

from zoobot import workflow
from zoobot.options import EvaluateOptions, FinetuneOptions, PredictOptions, RepresentOptions
from zoobot.shared.checkpoint import read_config
from zoobot.shared.errors import ImageError

fits = pytest.importorskip("astropy.io.fits")
pytestmark = pytest.mark.usefixtures("all_undrawn")

RED = {"g": 1.0, "r": 2.0, "z": 4.0}
BLUE = {"g": 4.0, "r": 2.0, "z": 1.0}
LIMITS = (-1.0, 10.0)


def write_survey(folder, bands="grz", n_galaxies=12, header=True):
    """Red galaxies (even) and blue ones (odd), as the cutout service of the Legacy Surveys writes them."""
    folder.mkdir()
    y, x = np.mgrid[:32, :32]
    rng = np.random.default_rng(3)
    rows = []
    for number in range(n_galaxies):
        profile = np.exp(-np.hypot(x - 16, y - 16) / rng.uniform(4, 6))
        colours = BLUE if number % 2 else RED
        hdu = fits.PrimaryHDU(np.stack([profile * colours[band] for band in bands]).astype(np.float32))
        if header:
            hdu.header.update({"SURVEY": "DECaLS", "BANDS": bands})
            hdu.header.update({f"BAND{place}": band for place, band in enumerate(bands)})
        hdu.writeto(folder / f"{number}.fits")
        row = {"id_str": f"g{number}", "file_loc": f"{number}.fits", "blue": number % 2}
        for place, band in enumerate(bands):
            fits.PrimaryHDU(hdu.data[place]).writeto(folder / f"{number}-{band}.fits")
            row[f"file_{band}"] = f"{number}-{band}.fits"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "catalog.csv", index=False)
    return str(folder / "catalog.csv")


@pytest.fixture
def run(engine_name):
    """The common options of tiny runs."""
    return {"backend": engine_name, "num_workers": 0, "progress": False}


@pytest.fixture
def finetune(run, tmp_path):
    def start(catalog, **options):
        given = {"encoder": "test_resnet", "image_size_pix": 32, "labels": ("blue",), "task": "multi-label"}
        given |= {"max_epochs": 1, "batch_size": 4, "val_fraction": 0.5, "limits": LIMITS}
        options = run | given | {"save_dir": str(tmp_path / "run")} | options
        return workflow.finetune(FinetuneOptions(catalog=catalog, **options)).checkpoint

    return start


def predict(checkpoint, catalog, place, run, **options):
    workflow.predict(
        PredictOptions(checkpoint=str(checkpoint), catalog=catalog, save_loc=str(place), **run, **options)
    )
    return pd.read_csv(place).iloc[:, 1:].to_numpy()


def test_bands_are_kept_and_found_again(finetune, run, tmp_path):
    checkpoint = finetune(write_survey(tmp_path / "grz"))
    record = read_config(checkpoint)["zoobot"]["preprocessing"]
    assert (record["bands"], record["band_numbers"]) == (["z", "r", "g"], [2, 1, 0])
    expected = predict(checkpoint, str(tmp_path / "grz/catalog.csv"), tmp_path / "a.csv", run)
    assert np.ptp(expected) > 0

    turned = write_survey(tmp_path / "zgr", "zgr")
    np.testing.assert_array_equal(predict(checkpoint, turned, tmp_path / "b.csv", run), expected)
    files = ("file_g", "file_z", "file_r")
    apart = predict(checkpoint, turned, tmp_path / "c.csv", run, file_col=files)
    np.testing.assert_array_equal(apart, expected)
    nameless = write_survey(tmp_path / "nameless", header=False)
    np.testing.assert_array_equal(predict(checkpoint, nameless, tmp_path / "d.csv", run), expected)

    blue_first = predict(checkpoint, turned, tmp_path / "e.csv", run, bands=("g", "r", "z"))
    assert np.abs(blue_first - expected).max() > 1e-6
    numbers = predict(checkpoint, turned, tmp_path / "f.csv", run, bands=(0, 2, 1))
    np.testing.assert_array_equal(numbers, expected)

    parts = tmp_path / "parts"
    workflow.predict(
        PredictOptions(
            checkpoint=str(checkpoint),
            catalog=turned,
            save_loc=str(parts),
            part_rows=5,
            file_col=files,
            **run,
        )
    )
    found = pd.concat(map(pd.read_parquet, sorted(parts.glob("*.parquet")))).iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_python_objects_settle_them_too(engine, make_model, fit, tmp_path):
    galaxies = engine.data.GalaxyDataModule(
        write_survey(tmp_path / "grz"), label_cols=["blue"], batch_size=4, num_workers=0, val_fraction=0.5
    )
    pixels = {"image_size_pix": 32, "limits": LIMITS}
    model = make_model(
        "classification", class_names=["red", "blue"], label_cols=["blue"], preprocessing=pixels
    )
    fit(model, tmp_path / "run", galaxies=galaxies, max_epochs=1)
    again = engine.checkpoint.load(tmp_path / "run/checkpoint")
    assert again.preprocessing.bands == model.preprocessing.bands == ("z", "r", "g")


def test_single_bands_are_refused_before_work(finetune, run, tmp_path):
    catalog = write_survey(tmp_path / "grz")
    with pytest.raises(ImageError, match="--colour to-rgb"):
        finetune(catalog, file_col="file_r")
    assert not (tmp_path / "run").exists()
    checkpoint = finetune(catalog, file_col="file_r", colour="to-rgb")
    assert read_config(checkpoint)["zoobot"]["preprocessing"]["colour"] == "to-rgb"
    for work, options in ((workflow.predict, PredictOptions), (workflow.represent, RepresentOptions)):
        told = run | {"checkpoint": str(checkpoint), "catalog": catalog, "file_col": "file_r"}
        for place in ("table.csv", "parts"):
            with pytest.raises(ImageError, match="--colour to-rgb"):
                work(options(save_loc=str(tmp_path / place), colour="auto", **told))
            assert not (tmp_path / place / "_manifest.json").exists()
        work(options(save_loc=str(tmp_path / f"{work.__name__}.csv"), **told))


def test_every_verb_takes_bands(finetune, run, tmp_path):
    checkpoint = str(finetune(write_survey(tmp_path / "grz")))
    griz = write_survey(tmp_path / "nameless", "rgz", header=False)
    told = run | {"checkpoint": checkpoint, "catalog": griz, "bands": (2, 0, 1)}
    expected = workflow.evaluate(EvaluateOptions(save_dir=str(tmp_path / "e"), **told)).scores
    renamed = write_survey(tmp_path / "named", "rgz")
    named = told | {"catalog": renamed, "bands": ("z", "r", "g")}
    assert workflow.evaluate(EvaluateOptions(save_dir=str(tmp_path / "f"), **named)).scores == expected
    for place, options in (("a.csv", told), ("b.csv", named)):
        workflow.represent(RepresentOptions(save_loc=str(tmp_path / place), **options))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), pd.read_csv(tmp_path / "b.csv"))
