"""Both engines' AdamW, fed the same gradients, take the same steps."""

import numpy as np
import pytest

from zoobot.shared.training.blocks import ParameterPlan

STEPS = 10
RATE, DECAY = 1e-3, 0.05

#: How three weights learn: usually, slower, and without decay.
PLANS = [ParameterPlan(1.0, True), ParameterPlan(0.3, True), ParameterPlan(1.0, False)]


def gradients(rng):
    """Gradients of any size, those near epsilon among them."""
    return (rng.normal(size=(STEPS, 1000)) * 10.0 ** rng.uniform(-10, 1, (STEPS, 1000))).astype("float32")


def with_torch(starts, all_gradients, rates):
    import torch

    weights = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    groups = [
        {"params": [w], "lr": RATE * plan.lr_factor, "weight_decay": DECAY if plan.decays else 0.0}
        for w, plan in zip(weights, PLANS, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    for step, rate in enumerate(rates):
        for weight, group, plan, steps in zip(
            weights, optimizer.param_groups, PLANS, all_gradients, strict=True
        ):
            weight.grad, group["lr"] = torch.tensor(steps[step]), rate * plan.lr_factor
        optimizer.step()
    return [w.detach().numpy() for w in weights]


def with_keras(starts, all_gradients, rates, make):
    import keras
    import tensorflow as tf

    weights = [keras.Variable(start) for start in starts]
    optimizer = make(list(zip(weights, PLANS, strict=True)))

    @tf.function
    def step(*gradients):
        optimizer.apply(list(gradients), weights)

    optimizer.build(weights)
    for number, rate in enumerate(rates):
        optimizer.learning_rate = rate
        step(*(tf.constant(steps[number]) for steps in all_gradients))
    return [w.value.numpy() for w in weights]


@pytest.fixture
def work():
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=1000).astype("float32") for _ in PLANS]
    rates = [RATE * (step + 1) / STEPS for step in range(STEPS)]  # as in a warm-up
    return starts, [gradients(rng) for _ in PLANS], rates


def test_ten_steps_on_equal_gradients_give_equal_weights(both_engines, work):
    from zoobot.tensorflow.learner import AdamW

    ours = with_keras(*work, lambda plans: AdamW(RATE, weight_decay=DECAY, plans=plans))
    for start, got, want in zip(work[0], ours, with_torch(*work), strict=True):
        assert np.abs(want - start).max() > 1e-3
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_the_test_would_notice_kerass_own_formula(both_engines, work):
    import keras

    theirs = with_keras(*work, lambda _: keras.optimizers.AdamW(RATE, weight_decay=DECAY))
    assert np.abs(theirs[0] - with_torch(*work)[0]).max() > 1e-4
