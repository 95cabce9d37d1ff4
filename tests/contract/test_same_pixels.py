"""The same seed shows both engines the same pixels."""

from types import SimpleNamespace

import numpy as np
import pytest

from zoobot.shared.preprocessing import Preprocessing


class Epoch:
    """All that batches ask of a trainer."""

    def __init__(self, number):
        import torch  # late: both engines are known to be there by then

        self.current_epoch = number
        self.strategy = SimpleNamespace(root_device=torch.device("cpu"))


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_equal(both_engines, catalog_path, part, epoch):
    batches = []
    for engine in both_engines.values():
        galaxies = engine.data.GalaxyDataModule(
            catalog_path,
            label_cols=["edge_on", "flux"],
            batch_size=7,
            seed=5,
            preprocessing=Preprocessing(image_size_pix=24),
        )
        loader = getattr(galaxies, f"{part}_dataloader")()
        loader.trainer = Epoch(epoch)
        batches.append([(b.images.numpy(), b.labels.numpy(), b.ids) for b in loader])
    first, second = batches
    assert len(first) == len(second) > 0
    for (images, labels, ids), (other_images, other_labels, other_ids) in zip(first, second, strict=True):
        assert images.dtype == other_images.dtype == np.uint8
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)
        assert ids == other_ids


def test_a_dataset_holds_what_the_batches_hold(both_engines, catalog_path, tmp_path):
    """Keras is fed by a dataset; 8-bit images and others mix."""
    import pandas as pd
    import tensorflow as tf
    from PIL import Image

    from zoobot.tensorflow.data import network_input

    table = pd.read_csv(catalog_path).head(6)
    table["file_loc"] = [str(catalog_path.parent / name) for name in table["file_loc"]]
    deep = np.linspace(0, 65535, 32 * 32, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    table.loc[5, "file_loc"] = str(tmp_path / "deep.png")
    galaxies = both_engines["tensorflow"].data.GalaxyDataModule(
        train_catalog=table,
        val_catalog=table.assign(id_str=[f"v{i}" for i in range(6)]),
        label_cols=["edge_on"],
        batch_size=2,
        preprocessing=Preprocessing(image_size_pix=16),
    )
    batches = galaxies.val_dataloader()
    types = []
    for (images, labels, ids), batch in zip(batches.to_dataset(), batches, strict=True):
        types.append(batch.images.dtype)
        np.testing.assert_array_equal(
            network_input(images, tf.float32), network_input(batch.images, tf.float32)
        )
        np.testing.assert_array_equal(labels, batch.labels)
        assert [name.decode() for name in ids.numpy()] == batch.ids
    assert types == [tf.uint8, tf.uint8, tf.float32]
