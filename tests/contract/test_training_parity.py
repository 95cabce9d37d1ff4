"""Ten training steps of a whole model, from the same weights on the same batches, end in the same weights."""

import importlib
from types import SimpleNamespace

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


#: What a trainer does to gradients and weights: the longest gradient (9 clips some steps and not others),
#: batches a step (the last has fewer), share of the average.
PLAIN = {"clip": None, "accumulate": 1, "decay": 0.0}
ALL = {"clip": 9.0, "accumulate": 3, "decay": 0.9}
KINDS = [("classification", PLAIN), ("tree", PLAIN), ("tree", ALL)]


def train_torch(model, batches, clip, accumulate, decay):
    """As Lightning does; at the end the model holds the average of its weights, if one was kept."""
    import torch

    from zoobot.pytorch.callbacks import AveragedWeights

    optimizer = torch.optim.AdamW(model._parameter_groups(), lr=model.settings.learning_rate)
    learning = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    dtype = next(model.parameters()).dtype
    average, trainer = AveragedWeights(decay), SimpleNamespace(global_step=0)
    average.on_train_start(trainer, model)
    model.train()
    losses = []
    for number, (images, labels) in enumerate(zip(*batches, strict=True), 1):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 255
        raw = model.head(model.features(pixels))
        loss = model.galaxy_losses(raw, torch.from_numpy(labels).to(dtype)).mean()
        (loss / accumulate).backward()
        losses.append(loss.item())
        if number % accumulate == 0 or number == STEPS:
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(learning, clip)
            optimizer.step()
            optimizer.zero_grad()
            trainer.global_step += 1
            average.on_train_batch_end(trainer, model, None, None, number)
    if decay:
        average._swap(model)
    return losses


def train_keras(model, batches, clip, accumulate, decay):
    """As our trainer does, with its callbacks."""
    from zoobot.tensorflow.callbacks import GatheredSteps
    from zoobot.tensorflow.last_checkpoint import AveragedWeights

    model.compile(gradient_clip=clip, gather_gradients=accumulate > 1)
    average = AveragedWeights(model, decay)
    callbacks = [*([GatheredSteps(accumulate)] if accumulate > 1 else []), average]
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    losses = []
    for images, labels in zip(*batches, strict=True):
        losses.append(float(model.train_on_batch(images, labels, return_dict=True)["loss"]))
        for callback in callbacks:
            callback.on_train_batch_end(len(losses))
    for callback in callbacks:
        callback.on_epoch_end(0)
    if decay:
        average.swap()
    return losses


def arrays_of(name, model):
    weights = importlib.import_module(f"zoobot.{name}.weights")
    return weights.encoder_state(model.encoder) | weights.module_state(model.head)


def compare(models, batches, options):
    """All learnt weights after ten steps as three vectors: before, by torch, by Keras; and both losses."""
    before = arrays_of("pytorch", models["pytorch"])
    losses = [
        train_torch(models["pytorch"], batches, **options),
        train_keras(models["tensorflow"], batches, **options),
    ]
    after = [arrays_of(name, models[name]) for name in ("pytorch", "tensorflow")]
    moved = [name for name in before if not np.array_equal(before[name], after[0][name])]
    assert [name for name in before if not np.array_equal(before[name], after[1][name])] == moved
    assert any("running_var" in name for name in moved)
    assert len(moved) < len(before)  # the lower blocks are frozen, with their statistics
    floats = [name for name in moved if before[name].dtype.kind == "f"]
    return [np.concatenate([a[name].ravel() for name in floats]) for a in (before, *after)], losses


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_float32(twins, batches, kind, options):
    (before, torchs, kerass), losses = compare(twins(kind, **OPTIONS), batches[kind], options)
    difference = np.abs(torchs - kerass)
    assert np.abs(torchs - before).max() > 5e-4
    assert np.quantile(difference, 0.999) < 1e-6
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.fixture
def in_float64(both_engines):
    """Both frameworks in double precision for one test."""
    import torch

    from zoobot.tensorflow.families.keras_settings import making_in

    torch.set_default_dtype(torch.float64)
    with making_in("float64"):
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_float64(in_float64, twins, batches, kind, options):
    (before, torchs, kerass), losses = compare(twins(kind, **OPTIONS), batches[kind], options)
    assert np.abs(torchs - before).max() > 5e-4
    np.testing.assert_allclose(kerass, torchs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
