"""Features in the place of images: each galaxy encoded once, batches as a GalaxyLoader's."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot.shared.augment import Augmentation
from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ConfigError, ImageError, NonFiniteError
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.training.feature_loader import FeatureLoader, FrozenPart

SIZE_PIX = 16


def encode(images):
    """Features that tell a galaxy and its view: mean brightness, and that of a corner."""
    pixels = images.astype(np.float32)
    return np.stack([pixels.mean(axis=(1, 2, 3)), pixels[:, :4, :4].mean(axis=(1, 2, 3))], axis=1)


@pytest.fixture
def catalog(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(10):
        image = rng.integers(0, 255, (SIZE_PIX, SIZE_PIX, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    ids = [f"g{i}" for i in range(10)]
    table = pd.DataFrame({"id_str": ids, "file_loc": [f"{i}.png" for i in range(10)], "label": range(10)})
    return read_catalog(table, label_cols=["label"], root=tmp_path)


def make(catalog, **options):
    defaults = {"batch_size": 4, "shuffle": True, "augmentation": Augmentation(), "num_workers": 1}
    return GalaxyLoader(catalog, Preprocessing(image_size_pix=SIZE_PIX), **defaults | options)


def test_batches_have_the_galaxies_and_labels_that_the_loader_would_serve(catalog):
    cached = FeatureLoader(make(catalog), FrozenPart(encode, 2))
    plain = make(catalog, augmentation=None)
    for epoch in (0, 3):
        for loader in (cached, plain):
            loader.set_epoch(epoch)
        assert len(cached) == len(plain)
        for got, expected in zip(cached, plain, strict=True):
            assert got.ids == expected.ids
            np.testing.assert_array_equal(got.labels, expected.labels)
            np.testing.assert_array_equal(got.images, encode(expected.images))


def test_every_galaxy_is_encoded_once_for_each_view(catalog):
    seen = []

    def counting(images):
        seen.append(len(images))
        return encode(images)

    cached = FeatureLoader(make(catalog), FrozenPart(counting, 2, views=3))
    for epoch in range(4):
        cached.set_epoch(epoch)
        list(cached)
    assert sum(seen) == 30


def test_the_first_view_is_plain_and_epochs_take_turns(catalog):
    cached = FeatureLoader(make(catalog), FrozenPart(encode, 2, views=3))
    plain = FeatureLoader(make(catalog, augmentation=None), FrozenPart(encode, 2, views=3))
    assert cached.features.shape == (3, 10, 2)
    assert plain.features.shape == (1, 10, 2)
    np.testing.assert_array_equal(cached.features[0], plain.features[0])
    assert not np.array_equal(cached.features[1], cached.features[0])
    assert not np.array_equal(cached.features[1], cached.features[2])
    for epoch, view in ((0, 0), (4, 1)):
        cached.set_epoch(epoch)
        for batch in cached:
            rows = [catalog.ids.index(galaxy) for galaxy in batch.ids]
            np.testing.assert_array_equal(batch.images, cached.features[view, rows])


def test_all_views_with_their_labels(catalog):
    cached = FeatureLoader(make(catalog), FrozenPart(encode, 2, views=2))
    features, labels = cached.labelled()
    np.testing.assert_array_equal(features[10:], cached.features[1])
    np.testing.assert_array_equal(labels[:, 0], [*range(10), *range(10)])


def test_an_unreadable_galaxy_is_recorded_and_left_out(catalog, tmp_path):
    (tmp_path / "3.png").write_bytes(b"no image")
    cached = FeatureLoader(make(catalog), FrozenPart(encode, 2, views=2))
    assert [failure.id_str for failure in cached.failures] == ["g3"]
    assert sorted(galaxy for batch in cached for galaxy in batch.ids) == sorted(set(catalog.ids) - {"g3"})
    assert len(cached.labelled()[0]) == 18


def test_too_many_unreadable_galaxies_are_an_error(catalog, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="max_failed_fraction"):
        FeatureLoader(make(catalog), FrozenPart(encode, 2))


def test_a_large_table_lies_in_a_file(catalog, monkeypatch):
    monkeypatch.setattr("zoobot.shared.files.whole._BYTES_IN_MEMORY", 10)
    cached = FeatureLoader(make(catalog), FrozenPart(encode, 2))
    assert isinstance(cached.features, np.memmap)
    expected = FeatureLoader(make(catalog, augmentation=None, shuffle=False), FrozenPart(encode, 2))
    np.testing.assert_array_equal(cached.features, expected.features)


def test_views_are_encoded_by_the_epoch_that_first_serves_them_and_then_kept(catalog):
    seen = []

    def counting(images):
        seen.append(len(images))
        return encode(images)

    late = FeatureLoader(make(catalog), FrozenPart(counting, 2, views=2, dtype=np.float16, ahead=False))
    ahead = FeatureLoader(make(catalog), FrozenPart(encode, 2, views=2, dtype=np.float16))
    assert not seen
    for epoch in (3, 0, 1, 2):  # a resumed run begins with any
        for loader in (late, ahead):
            loader.set_epoch(epoch)
        batches = [next(served) for served in [iter(late)] for _ in range(len(late))]  # and not once more
        for got, expected in zip(batches, ahead, strict=True):
            assert got.images.dtype == np.float16
            assert got.ids == expected.ids
            np.testing.assert_array_equal(got.images, expected.images)
            np.testing.assert_array_equal(got.labels, expected.labels)
    assert sum(seen) == 20


def test_an_unreadable_galaxy_is_left_out_of_every_epoch(catalog, tmp_path):
    (tmp_path / "3.png").write_bytes(b"no image")
    late = FeatureLoader(make(catalog), FrozenPart(encode, 2, ahead=False))
    for epoch in range(3):
        late.set_epoch(epoch)
        assert sorted(g for batch in late for g in batch.ids) == sorted(set(catalog.ids) - {"g3"})
    assert [failure.id_str for failure in late.failures] == ["g3"]


def test_what_16_bits_cannot_hold_is_an_error_that_names_the_galaxies(catalog):
    def huge(images):
        return encode(images) * 1e6

    with pytest.raises(NonFiniteError, match=r"too large for float16.*g0.*activation_views=0"):
        FeatureLoader(make(catalog), FrozenPart(huge, 2, dtype=np.float16))


def test_a_disk_too_small_is_an_error_before_work(catalog, monkeypatch, tmp_path):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoobot.shared.files.whole._BYTES_IN_MEMORY", 10)
    monkeypatch.setattr("os.posix_fallocate", no_space)
    with pytest.raises(ConfigError, match="No space left on device; keep fewer views"):
        FeatureLoader(make(catalog), FrozenPart(encode, 2), folder=str(tmp_path / "cache"))
