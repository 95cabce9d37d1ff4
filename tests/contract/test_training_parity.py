"""Ten training steps of a whole model, from the same weights on the same batches, end in the same weights."""

import importlib

import numpy as np
import pytest

STEPS = 10
BATCH, SIZE_PIX = 8, 32
OPTIONS = {"n_blocks": 3, "lr_decay": 0.5, "dropout_prob": 0.0, "schedule": "constant"}


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (STEPS, BATCH, SIZE_PIX, SIZE_PIX, 3), dtype=np.uint8)
    votes = rng.integers(0, 20, (STEPS, BATCH, 4)).astype("float32")
    votes[rng.random((STEPS, BATCH)) < 0.3, 2:] = 0
    return {
        "classification": (images, rng.integers(0, 2, (STEPS, BATCH, 1)).astype("float32")),
        "tree": (images, votes),
    }


def train_torch(model, batches):
    import torch

    optimizer = torch.optim.AdamW(model._parameter_groups(), lr=model.settings.learning_rate)
    dtype = next(model.parameters()).dtype
    model.train()
    losses = []
    for images, labels in zip(*batches, strict=True):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 255
        raw = model.head(model.features(pixels))
        loss = model.galaxy_losses(raw, torch.from_numpy(labels).to(dtype)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_keras(model, batches):
    model.compile()
    losses = []
    for images, labels in zip(*batches, strict=True):
        losses.append(float(model.train_on_batch(images, labels, return_dict=True)["loss"]))
    return losses


def arrays_of(name, model):
    weights = importlib.import_module(f"zoobot.{name}.weights")
    return weights.encoder_state(model.encoder) | weights.module_state(model.head)


def compare(models, batches):
    """All learnt weights after ten steps as three vectors: before, by torch, by Keras; and both losses."""
    before = arrays_of("pytorch", models["pytorch"])
    losses = [train_torch(models["pytorch"], batches), train_keras(models["tensorflow"], batches)]
    after = [arrays_of(name, models[name]) for name in ("pytorch", "tensorflow")]
    moved = [name for name in before if not np.array_equal(before[name], after[0][name])]
    assert [name for name in before if not np.array_equal(before[name], after[1][name])] == moved
    assert any("running_var" in name for name in moved)
    assert len(moved) < len(before)  # the lower blocks are frozen, with their statistics
    floats = [name for name in moved if before[name].dtype.kind == "f"]
    return [np.concatenate([a[name].ravel() for name in floats]) for a in (before, *after)], losses


@pytest.mark.parametrize("kind", ["classification", "tree"])
def test_float32(twins, batches, kind):
    (before, torchs, kerass), losses = compare(twins(kind, **OPTIONS), batches[kind])
    difference = np.abs(torchs - kerass)
    assert np.abs(torchs - before).max() > 5e-4
    assert np.quantile(difference, 0.999) < 1e-6
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.fixture
def in_float64(both_engines):
    """Both frameworks in double precision for one test."""
    import keras
    import torch

    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize("kind", ["classification", "tree"])
def test_float64(in_float64, twins, batches, kind):
    (before, torchs, kerass), losses = compare(twins(kind, **OPTIONS), batches[kind])
    assert np.abs(torchs - before).max() > 5e-4
    np.testing.assert_allclose(kerass, torchs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
