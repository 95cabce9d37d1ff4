"""The grammar of image locations."""

from __future__ import annotations

import pytest

from zoobot.shared.errors import ImageError
from zoobot.shared.pixels.locations import Cutout, Location, split_location, watched_file


def test_a_file_has_no_member(tmp_path):
    assert split_location(tmp_path / "a.jpg") == Location(str(tmp_path / "a.jpg"), None)


def test_an_archive_that_is_there_has_members(tmp_path):
    (tmp_path / "a.tar").touch()
    location = split_location(f"{tmp_path}/a.tar::ngc/4565.jpg")
    assert location == (f"{tmp_path}/a.tar", "ngc/4565.jpg")
    assert str(location) == f"{tmp_path}/a.tar::ngc/4565.jpg"


def test_an_archive_that_is_not_there_leaves_one_name(tmp_path):
    text = f"{tmp_path}/gone.tar::a.jpg"
    assert split_location(text) == (text, None)


def test_names_may_hold_the_separator(tmp_path):
    (tmp_path / "x::y.tar").touch()
    assert split_location(f"{tmp_path}/x::y.tar::a::b.jpg") == (f"{tmp_path}/x::y.tar", "a::b.jpg")


def test_a_plain_folder_is_no_container(tmp_path):
    text = f"{tmp_path}::12"
    assert split_location(text) == (text, None)
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / name).touch()
    assert split_location(text) == (str(tmp_path), "12")
    assert watched_file(str(tmp_path)) == str(tmp_path / "state.json")


@pytest.mark.parametrize("cutout", [Cutout(0.1 + 0.2, -89.999, 20, "arcsec"), Cutout(359.9, 1e-9, 64, "pix")])
def test_cutouts_survive_being_text(cutout):
    assert Cutout.parse(str(cutout)) == cutout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "1,2",
        "1,2,3",
        "1,2,arcsec",
        "1,2,0pix",
        "1,2,-3arcsec",
        "nan,2,3pix",
        "1,91,3pix",
        "1,2,3,4pix",
    ],
)
def test_what_is_no_cutout_is_refused(text):
    with pytest.raises(ImageError, match="RA,DEC,SIZE"):
        Cutout.parse(text)
