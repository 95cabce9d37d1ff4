"""Images made worse: noisier, blurrier, farther, compressed, turned; and the same whenever they are read."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import simplejpeg

from zoobot.certainty.coverage import interval_table
from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.catalog import read_catalog
from zoobot.shared.conformal import fit_conformal
from zoobot.shared.degrading import Sky, angular_size_ratio, degrade
from zoobot.shared.errors import ConfigError
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.metrics import score_once
from zoobot.shared.pixels.cache import PixelCache
from zoobot.shared.pixels.degraded import KINDS, Degradation, plan_degradations
from zoobot.shared.preprocessing import Preprocessing, describe_pixels
from zoobot.shared.tasks import RegressionTask, classification_task
from zoobot.workflow.degrade import score_names, worse_scorer

SKY, SCATTER = 0.2, 0.02


def galaxy(side=129, *, width=8.0, height=0.5, channels=3, seed=0):
    """A round galaxy of a Gaussian profile under a noisy sky, float32."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    light = height * np.exp(-(x**2 + y**2) / (2 * width**2))
    noise = np.random.default_rng(seed).normal(SKY, SCATTER, (side, side, channels))
    return (light[..., None] + noise).astype(np.float32)


def worse(image, kind, step, galaxy_id="J1", **options):
    return degrade(image, Degradation(kind=kind, step=step, **options), galaxy_id)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_and_pixels_are_those_of_the_galaxy_whenever_it_is_read(kind):
    step = KINDS[kind].steps[1]
    for channels in (1, 3, 5):
        for dtype in (np.float32, np.uint8):
            image = galaxy(33, channels=channels)
            image = (255 * image.clip(0, 1)).astype(np.uint8) if dtype == np.uint8 else image
            before = image.copy()
            first, again = worse(image, kind, step), worse(image, kind, step)
            assert (first.shape, first.dtype) == (image.shape, dtype)
            np.testing.assert_array_equal(first, again)
            np.testing.assert_array_equal(image, before)
            assert np.isfinite(first).all()
    assert ((first != worse(image, kind, step, "J2")).any()) == (kind in ("noise", "psf", "redshift"))
    assert ((first != worse(image, kind, step, seed=1)).any()) == (kind in ("noise", "psf", "redshift"))


def test_noise_makes_the_sky_scatter_so_many_times_as_much():
    image = galaxy()
    found = Sky.of(worse(image, "noise", 3))
    np.testing.assert_allclose(found.level, SKY, atol=0.01)
    np.testing.assert_allclose(found.scatter, 3 * SCATTER, rtol=0.1)
    assert worse(image, "noise", 1) == pytest.approx(image, abs=1e-6)
    flat = np.full((64, 64, 1), 100, np.uint8)  # without scatter of its own it counts as one grey level
    assert worse(flat, "noise", 4).std() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_grey_pictures_stay_grey(kind):
    made = worse(np.repeat(galaxy(64, channels=1), 3, axis=-1), kind, KINDS[kind].steps[2])
    assert made.shape == (64, 64, 3)
    assert np.abs(made - made[..., :1]).max() <= (2 / 255 if kind == "jpeg" else 0)


def test_a_blur_is_as_wide_as_it_says_and_the_sky_keeps_its_noise():
    point = np.zeros((65, 65, 1), np.float32)
    point[32, 32] = 1
    blurred = worse(point, "psf", 8)[..., 0]
    row = blurred[32] / blurred.max()
    assert row[32 + 4] == pytest.approx(0.5, abs=0.03)  # half the height at half the FWHM
    assert blurred.sum() == pytest.approx(1, rel=0.01)
    found = Sky.of(worse(galaxy(), "psf", 8))
    np.testing.assert_allclose(found.scatter, SCATTER, rtol=0.12)


def test_a_galaxy_farther_away_is_smaller_and_fainter_under_the_same_sky():
    image = galaxy(201, width=20)
    far = worse(image, "redshift", 0.2, own_redshift=0.1)
    ratio, dimming = angular_size_ratio(0.1, 0.2), (1.1 / 1.2) ** 4
    centre = far[99:102, 99:102].mean()
    assert centre - SKY == pytest.approx(0.5 * dimming, rel=0.05)
    total, before = (far - SKY).sum(), (image - SKY).sum()
    assert total / before == pytest.approx(dimming * ratio**2, rel=0.05)
    np.testing.assert_allclose(Sky.of(far).level, SKY, atol=0.005)
    np.testing.assert_allclose(Sky.of(far).scatter, SCATTER, rtol=0.1)
    ring = far[60:140, 60:70]  # sky of the frame that became smaller: no less noisy than what is around it
    assert ring.std() == pytest.approx(SCATTER, rel=0.25)
    same = worse(image, "redshift", 0.1, own_redshift=0.1)
    assert np.abs(same - image).max() < 1e-3


@pytest.mark.parametrize(("kind", "step"), [("noise", 3), ("psf", 2), ("redshift", 0.2)])
def test_noise_is_as_coarse_as_the_sky_s_own(kind, step):
    noise = cv2.GaussianBlur(galaxy(201, height=0) - SKY, (0, 0), 1.2)
    image = (SKY + noise * SCATTER / noise.std()).astype(np.float32)
    grain = Sky.of(image).grain(image)
    assert grain == pytest.approx(np.exp(-1 / (4 * 1.2**2)), abs=0.04)
    made = worse(image, kind, step)
    found = Sky.of(made)
    assert found.grain(made) == pytest.approx(grain, abs=0.1)
    np.testing.assert_allclose(found.scatter, (3 if kind == "noise" else 1) * SCATTER, rtol=0.15)
    assert Sky.of(galaxy()).grain(galaxy()) < 0.05


def test_sizes_are_those_of_a_flat_universe():
    cosmology = pytest.importorskip("astropy.cosmology")
    flat = cosmology.FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0)
    for own, far in ((0.05, 0.1), (0.02, 1.5), (0.1, 6.0)):
        expected = flat.angular_diameter_distance(own) / flat.angular_diameter_distance(far)
        assert angular_size_ratio(own, far) == pytest.approx(float(expected), rel=1e-4)


def test_a_jpeg_is_one_of_that_quality():
    image = (255 * galaxy().clip(0, 1)).astype(np.uint8)
    file = simplejpeg.encode_jpeg(image, 25, "RGB", "420")
    np.testing.assert_array_equal(worse(image, "jpeg", 25), simplejpeg.decode_jpeg(file, "RGB"))
    errors = [np.abs(worse(image, "jpeg", q).astype(int) - image).mean() for q in (90, 50, 10)]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_turns_are_part_of_the_one_resampling():
    image = galaxy(64)
    image[10:20, 5:30] += 0.5
    plain = Preprocessing(image_size_pix=32)
    quarter = plain.with_changes(degraded=Degradation(kind="rotation", step=90))
    turned = make_view(image, quarter)
    assert np.abs(turned - np.rot90(make_view(image, plain))).max() < 1e-5
    once = plain.with_changes(degraded=Degradation(kind="rotation", step=30))
    key = {"seed": 1, "epoch": 2, "galaxy_id": "J1"}
    both = make_view(image, once, Augmentation(), **key)
    assert (both != make_view(image, plain, Augmentation(), **key)).any()
    full = make_view(image, plain.with_changes(degraded=Degradation(kind="rotation", step=360)))
    assert np.abs(full - make_view(image, plain)).max() < 1e-5


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    for k in range(5):
        image = (255 * galaxy(128, seed=k).clip(0, 1)).astype(np.uint8)
        (folder / f"{k}.jpg").write_bytes(simplejpeg.encode_jpeg(image, 95))
    return read_catalog(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_loaders_degrade_the_file_itself_before_crop_and_size(kind, survey, tmp_path):
    record = Preprocessing(
        image_size_pix=16, crop_fraction=0.5, degraded=Degradation(kind=kind, step=KINDS[kind].steps[2])
    )
    one, many = (
        np.concatenate([b.images for b in GalaxyLoader(survey, record, batch_size=n, num_workers=w)])
        for n, w in ((5, 0), (2, 2))
    )
    np.testing.assert_array_equal(one, many)
    for path, galaxy_id, view in zip(survey.paths, survey.ids, one, strict=True):
        with open(path, "rb") as file:
            whole = simplejpeg.decode_jpeg(file.read(), "RGB")
        np.testing.assert_array_equal(view, make_view(whole, record, galaxy_id=galaxy_id))
    kept = GalaxyLoader(survey, record, batch_size=5, num_workers=0, cache_dir=tmp_path)
    np.testing.assert_array_equal(next(iter(kept)).images, one)
    assert PixelCache(tmp_path, record, None).read(survey.paths[0]).pixels.shape == (128, 128, 3)


def test_the_record_goes_to_a_config_and_back_and_is_not_told_of_where_there_is_none():
    record = Preprocessing(degraded=Degradation(kind="redshift", step=0.2, seed=3, own_redshift=0.1))
    config = json.loads(json.dumps(record.to_config()))
    assert Preprocessing.from_config(config) == record
    assert Preprocessing().with_changes(**asdict(record)) == record
    assert "degraded" not in Preprocessing().to_config()
    assert "made worse     redshift 0.2: the galaxy from its own" in describe_pixels(record)
    for bad in ({"kind": "noise"}, {"kind": "noise", "step": 2, "run": "rm"}, {"kind": "fog", "step": 2}):
        with pytest.raises(ConfigError, match=r"degraded must hold|kind must be one of"):
            Preprocessing.from_config({"degraded": bad})
    for other in ("noise", 3, [1]):
        with pytest.raises(ConfigError, match="degraded must be"):
            Preprocessing.from_config({"degraded": other})


@pytest.mark.parametrize(
    ("kinds", "steps", "options", "message"),
    [
        (["noise", "psf"], [2], {}, "--degrade-steps are for one kind"),
        ([], [2], {}, "--degrade-steps are for one kind .* without --degrade"),
        (["noise", "noise"], [], {}, "--degrade names something twice"),
        (["noise"], [2, 2], {}, "--degrade-steps names something twice"),
        (["noise"], [0.5], {}, r"a step of noise \(.*\) must lie in \[1, 1000\], got 0.5"),
        (["psf"], [0], {}, "a step of psf .* must lie in"),
        (["psf"], [float("nan")], {}, "step must be a finite number"),
        (["jpeg"], [101], {}, r"must lie in \[1, 100\]"),
        (["jpeg"], [50.5], {}, "a step of jpeg must be a whole number"),
        (["redshift"], [0.04], {}, r"at least the redshift that the galaxies have \(0.05, --own-redshift\)"),
        (["redshift"], [], {"own_redshift": 0.1}, "at least the redshift .* got 0.07"),
        (["redshift"], [], {"own_redshift": 0.0}, r"own_redshift must lie in \(0, 20\]"),
        (["fog"], [2], {}, "kind must be one of"),
    ],
)
def test_degradations_that_cannot_be_are_refused(kinds, steps, options, message):
    with pytest.raises(ConfigError, match=message):
        plan_degradations(kinds, steps, **options)


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_worse_predictions_hold_the_truth_less_often_than_promised(kind):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (400, 1 if kind == "classes" else 2)).astype(float)
    if kind == "numbers":
        task = RegressionTask(num_targets=2, label_cols=("a", "b"))
        predicted, lost = (truth + rng.normal(0, sigma, truth.shape) for sigma in (0.1, 0.3))
        truth[::7, 1] = np.nan
    else:
        predicted = np.where(truth == 1, 0.8, 0.2) + rng.uniform(-0.2, 0.2, truth.shape)
        lost = np.where(rng.random(truth.shape) < 0.3, 1 - predicted, predicted)
        task = classification_task(num_classes=2, multi_label=True, label_cols=["a", "b"])
    if kind == "classes":
        task = classification_task(class_names=["no", "yes"], label_cols=["a"])
        predicted, lost = (np.hstack([1 - p, p]) for p in (predicted, lost))
    conformal = fit_conformal(task, predicted, truth, Preprocessing())
    names = score_names(task, conformal)
    assert list(names)[:2] == [task.scores.by_epoch[0], "held_90"]
    assert ("ece" in names) == (kind != "numbers")
    assert "held_90" not in score_names(task)
    own, less = (score_once(worse_scorer(task, p, truth, conformal), len(truth)) for p in (predicted, lost))
    assert own["held_90"] > 0.88  # of classes more: sets are never empty
    assert less["held_90"] < 0.8
    table = interval_table(task, conformal, lost, truth, levels=[0.9])
    assert less["held_90"] == pytest.approx(np.average(table["held"], weights=table["n"]))
    assert list(less) == list(names)


def test_each_kind_has_its_own_steps_from_mild_to_severe():
    planned = plan_degradations(["noise", "jpeg"], seed=4)
    assert [(one.kind, one.step) for one in planned[:4]] == [("noise", s) for s in (1.5, 2, 4, 8)]
    assert {one.seed for one in planned} == {4}
    assert planned[4].kind == "jpeg"
    assert [one.step for one in plan_degradations(["rotation"], [-30, 200])] == [-30, 200]
