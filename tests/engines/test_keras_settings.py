"""A user's keras.json and keras.config.set_* change nothing of what the TensorFlow engine makes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")

#: For each setting, train a tiny convolutional network for an epoch, and only predict with a transformer.
SCRIPT = """
import json, sys
import keras
import numpy as np
from zoobot.tensorflow import data, finetune, predict

catalog, folder, settings = json.loads(sys.argv[1])
told = lambda: (keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name)
numbers = []
for count, changes in enumerate(settings):
    for name, value in changes.items():
        getattr(keras.config, name)(value)
    before = told()
    keras.utils.set_random_seed(0)
    for name, blocks in (("test_resnet", "all"), ("test_vit", 0)):
        model = finetune.FinetuneableZoobotClassifier(
            num_classes=2, label_cols=["edge_on"], name=name, n_blocks=blocks,
            preprocessing={"image_size_pix": 32},
        )
        assert {w.dtype for w in model.trainable_weights} == {"float32"}
        if blocks:
            galaxies = data.GalaxyDataModule(catalog, batch_size=8, num_workers=1)
            run = f"{folder}/{count}"
            finetune.get_trainer(run, max_epochs=1, progress=False, accelerator="cpu").fit(model, galaxies)
        found = predict.predict(catalog, model, batch_size=8, num_workers=1, progress=False)
        sums = [float(np.abs(weight.numpy()).sum()) for weight in model.weights]
        numbers.append(found.table.iloc[:, 1].tolist() + sums)
    assert told() == before
print(json.dumps(numbers))
"""


def numbers_of(folder, catalog, written, settings):
    """Predictions and sums of weights, of each network under each setting, in a process of its own."""
    (folder / "keras").mkdir(parents=True)
    (folder / "keras" / "keras.json").write_text(json.dumps(written))
    argument = json.dumps([str(catalog), str(folder), settings])
    told = os.environ | {"KERAS_HOME": str(folder / "keras"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, argument], env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_users_keras_settings_change_no_number(catalog_path, tmp_path):
    half = {"floatx": "float16", "image_data_format": "channels_first", "epsilon": 1e-3}
    mixed = {"set_floatx": "float64", "set_dtype_policy": "mixed_float16"}
    usual = numbers_of(tmp_path / "as shipped", catalog_path, {}, [{}])
    found = numbers_of(tmp_path / "settings", catalog_path, half, [{}, mixed])
    assert len(usual) == 2
    assert len(found) == 4
    for own, shipped in zip(found, usual * 2, strict=True):
        assert np.isfinite(shipped).all()
        np.testing.assert_array_equal(own, shipped)
