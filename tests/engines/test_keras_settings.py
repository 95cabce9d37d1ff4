"""A user's keras.json and keras.config.set_* change nothing of what the TensorFlow engine makes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")

#: Train each kind of encoder for an epoch, and print a digest of its weights and predictions.
TRAIN = """
import sys
import keras
for name, value in {changes}.items():
    getattr(keras.config, name)(value)
import numpy as np
from zoobot.tensorflow import data, finetune, predict
before = keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name
for name, blocks in (("test_resnet", "all"), ("test_vit", 0)):
    model = finetune.FinetuneableZoobotClassifier(
        num_classes=2, label_cols=["edge_on"], name=name, n_blocks=blocks,
        preprocessing={{"image_size_pix": 32}},
    )
    assert {{w.dtype for w in model.trainable_weights}} == {{"float32"}}
    galaxies = data.GalaxyDataModule({catalog!r}, batch_size=8, num_workers=1)
    trainer = finetune.get_trainer({folder!r} + "/" + name, max_epochs=1, progress=False, accelerator="cpu")
    trainer.fit(model, galaxies)
    table = predict.predict({catalog!r}, model, batch_size=8, num_workers=1, progress=False).table
    print(name, *table.iloc[:, 1].tolist(), *(float(np.abs(w.numpy()).sum()) for w in model.weights[:40]))
assert before == (keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name)
"""
SETTINGS = {
    "in-half": ({"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3}, {}),
    "mixed-in-double": ({"floatx": "float64"}, {"set_dtype_policy": "mixed_float16"}),
}


def numbers_of(folder, catalog, written, changes):
    (folder / "keras").mkdir(parents=True)
    (folder / "keras" / "keras.json").write_text(json.dumps(written))
    script = TRAIN.format(changes=changes, catalog=str(catalog), folder=str(folder))
    told = os.environ | {"KERAS_HOME": str(folder / "keras"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=told, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(name, np.array(rest, float)) for name, *rest in map(str.split, done.stdout.splitlines())]


@pytest.fixture(scope="module")
def as_shipped(tmp_path_factory, catalog_path):
    return numbers_of(tmp_path_factory.mktemp("shipped") / "run", catalog_path, {}, {})


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_users_keras_settings_change_no_number(setting, as_shipped, catalog_path, tmp_path):
    found = numbers_of(tmp_path / "run", catalog_path, *SETTINGS[setting])
    assert [name for name, _ in found] == [name for name, _ in as_shipped]
    for (name, own), (_, usual) in zip(found, as_shipped, strict=True):
        np.testing.assert_array_equal(own, usual, err_msg=name)
