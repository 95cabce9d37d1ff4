"""Another survey's look on a training view."""

import numpy as np
import pytest

from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.looks import change_look
from zoobot.shared.preprocessing import Preprocessing

VIEW = np.random.default_rng(0).integers(30, 200, (32, 32, 3)).astype(np.uint8)


def test_the_same_key_gives_the_same_look_and_others_other_ones():
    looks = [change_look(VIEW, f"key {k}") for k in range(32)]
    assert all(look.dtype == np.uint8 and look.shape == VIEW.shape for look in looks)
    assert np.array_equal(change_look(VIEW, "key 3"), looks[3])
    assert len({look.tobytes() for look in looks}) > 24  # 1 in 16 is left as it is, 1 in 80 is grey alone


def test_some_looks_are_grey_and_grey_stays_grey():
    greys = [(look == look[..., :1]).all() for look in (change_look(VIEW, str(k)) for k in range(200))]
    assert 20 < sum(greys) < 60  # a fifth of them
    grey = np.repeat(VIEW[..., :1], 3, axis=2)
    changed = [change_look(grey, str(k)) for k in range(40)]
    assert any((look == look[..., :1]).all() and not np.array_equal(look, grey) for look in changed)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_bytes_and_floats_of_any_channels_look_alike(channels):
    view = np.resize(VIEW, (32, 32, channels))
    for k in range(20):
        as_floats = change_look(view.astype(np.float32) / 255, str(k))
        assert as_floats.dtype == np.float32
        assert 0 <= as_floats.min() <= as_floats.max() <= 1
        assert np.abs(change_look(view, str(k)) - 255 * as_floats).max() <= 0.501


def test_the_share_of_views_that_look_otherwise():
    galaxies = [f"J{k}" for k in range(200)]
    record = Preprocessing(image_size_pix=32, crop_fraction=1)
    views = {
        share: [
            make_view(VIEW, record, Augmentation(look_probability=share), seed=1, epoch=2, galaxy_id=galaxy)
            for galaxy in galaxies
        ]
        for share in (0, 0.3, 1)
    }
    changed = {
        share: sum(not np.array_equal(one, plain) for one, plain in zip(views[share], views[0], strict=True))
        for share in (0.3, 1)
    }
    assert 30 < changed[0.3] < 85
    assert changed[1] > 170
