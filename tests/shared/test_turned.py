"""The views of an image: eight exact turns, closed in themselves, and what is said of them."""

import numpy as np
import pytest

from zoobot.options import ExportOptions, FinetuneOptions, PredictOptions, RepresentOptions
from zoobot.shared.errors import ConfigError
from zoobot.shared.pixels.cache import PixelCache
from zoobot.shared.pixels.turned import VIEWS, mean_of_views, turned, turned_back, turns_of
from zoobot.shared.preprocessing import Preprocessing, describe_pixels

IMAGES = np.random.default_rng(0).random((2, 5, 5, 3))


def test_turns_are_those_of_a_square_and_can_be_undone():
    quarter = [np.rot90(IMAGES, number, axes=(1, 2)) for number in range(4)]
    expected = quarter + [one[:, :, ::-1] for one in quarter]
    found = [turned(IMAGES, turn) for turn in turns_of(8)]
    assert {one.tobytes() for one in found} == {one.tobytes() for one in expected}
    assert {one.tobytes() for one in found[:4]} == {one.tobytes() for one in quarter}
    np.testing.assert_array_equal(found[0], IMAGES)
    np.testing.assert_array_equal(found[1], quarter[2])
    for turn in turns_of(8):
        np.testing.assert_array_equal(turned_back(turned(IMAGES, turn), turn), IMAGES)


@pytest.mark.parametrize("views", VIEWS)
def test_of_a_turned_image_the_views_are_the_same(views):
    own = {turned(IMAGES, turn).tobytes() for turn in turns_of(views)}
    assert len(own) == views
    for first in turns_of(views):
        again = turned(IMAGES, first)
        assert {turned(again, turn).tobytes() for turn in turns_of(views)} == own


def test_the_mean_is_over_all_views():
    corner = mean_of_views(lambda images: images[:, 0, 0], IMAGES, 4, turned)
    corners = IMAGES[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corner, corners.mean(axis=1))
    assert mean_of_views(lambda images: images, IMAGES, 1, turned) is IMAGES


@pytest.mark.parametrize("views", [0, 3, 16, -1])
def test_other_numbers_are_refused_wherever_they_are_said(views):
    for say in (
        lambda: Preprocessing(views=views),
        lambda: turns_of(views),
        lambda: PredictOptions(catalog="c.csv", checkpoint="m", save_loc="p.csv", views=views),
        lambda: ExportOptions(checkpoint="m", save_loc="m.onnx", views=views),
    ):
        with pytest.raises(ConfigError, match=rf"views must be 1 .*, got {views}"):
            say()


def test_a_record_tells_of_several_views_only():
    one, eight = Preprocessing(), Preprocessing(views=8)
    assert "views" not in one.to_config()  # as records and hashes of earlier versions
    assert Preprocessing.from_config(eight.to_config()) == eight
    assert eight.with_changes(views=1) == one
    assert "views" not in describe_pixels(one)
    assert "8 views: the mean of their features (the image turned by right angles, and mirrored)" in (
        describe_pixels(eight)
    )


def test_kept_pixels_serve_any_number_of_views(tmp_path):
    folders = {PixelCache(tmp_path, Preprocessing(views=views), None).folder for views in VIEWS}
    assert len(folders) == 1


def test_options_reach_the_record():
    options = RepresentOptions(catalog="c.csv", checkpoint="m", save_loc="f.csv", views=2, crop_fraction=0.5)
    assert options.image_changes() == {"views": 2, "crop_fraction": 0.5}
    common = {"catalog": "c.csv", "labels": "ring", "task": "classification", "save_dir": "r", "views": 8}
    assert FinetuneOptions(**common, n_blocks=0).image_changes() == {"views": 8}
    with pytest.raises(ConfigError, match=r"views=8 is for learning a head alone .* got n_blocks=2"):
        FinetuneOptions(**common, n_blocks=2)
