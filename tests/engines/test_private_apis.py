"""What the engines need of their frameworks that these do not promise to keep, and what to do where it fails.

Each is one function of `zoobot/pytorch/internals.py` or `zoobot/tensorflow/internals.py`: mend it there, with
whatever the new version offers, and nothing else has to change.
"""

import copy

import keras
import numpy as np
import pytest
import pytorch_lightning as pl
import tensorflow as tf
import timm
import torch
from torch import nn

from zoobot.pytorch import internals as of_torch
from zoobot.tensorflow import internals as of_keras


def two_deep():
    inner = keras.Sequential([keras.layers.Dense(3), keras.layers.BatchNormalization()], name="inner")
    return keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1, name="last")], name="outer")


def test_all_layers_of_a_keras_model_are_found_at_any_depth():
    """`Layer._flatten_layers`: else walk down `model.layers`, and attributes of layers that hold layers."""
    model = two_deep()
    found = of_keras.all_layers(model)
    inner, last = model.layers
    assert found[0] is model
    assert all(any(layer is one for one in found) for layer in (inner, *inner.layers, last))
    assert len({id(layer) for layer in found}) == len(found)


def test_the_layers_that_a_layer_holds_itself_come_in_order():
    """`Layer._flatten_layers(False, False)`: else look for layers among the attributes of the layer."""

    class Pair(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.second = keras.Sequential([keras.layers.Dense(1), keras.layers.Dense(1)])
            self.first = keras.layers.Dense(2)

    pair = Pair()
    assert of_keras.inner_layers(pair) == [pair.second, pair.first]
    assert [layer.name for layer in of_keras.inner_layers(two_deep())][-2:] == ["inner", "last"]


def test_the_layer_that_gives_a_tensor_of_a_graph_is_known():
    """`KerasTensor._keras_history`: else find the operation of the model whose `output` the tensor is."""
    entering = keras.Input((2,))
    layer = keras.layers.Dense(3)
    assert of_keras.maker_of(layer(entering)) is layer
    assert isinstance(of_keras.maker_of(entering), keras.layers.InputLayer)


def test_a_keras_variable_can_be_put_onto_other_devices():
    """`Variable._initialize`: else build the model within `strategy.scope()` and copy its weights over."""
    variable = keras.Variable([1.0, 2.0], name="weight")
    before = variable.value
    of_keras.begin_anew(variable, np.array([3.0, 4.0], np.float32))
    assert variable.value is not before
    np.testing.assert_array_equal(variable.numpy(), [3, 4])
    given = tf.Variable([5.0, 6.0], trainable=False)
    of_keras.begin_anew(variable, given)
    assert variable.value is given


def test_an_optimiser_knows_its_variables_by_those_of_tensorflow():
    """`Optimizer._get_variable_index`: else keep a dict from `id(variable.value)` to its place in `build`."""
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer = keras.optimizers.SGD()
    optimizer.build(variables)
    assert [of_keras.place_of(v.value, optimizer) for v in variables] == [0, 1]


def test_the_gradients_of_all_devices_are_clipped_where_keras_adds_them_up():
    """`Optimizer._all_reduce_sum_gradients`: else clip in `AdamW.apply`, on one device only."""
    from zoobot.tensorflow.learner import AdamW

    called = []

    class Watched(AdamW):
        def _all_reduce_sum_gradients(self, grads_and_vars):
            called.append(len(grads_and_vars))
            return super()._all_reduce_sum_gradients(grads_and_vars)

    weight = keras.Variable([1.0])
    Watched(0.1, weight_decay=0.0, gradient_clip=0.5).apply([tf.constant([2.0])], [weight])
    assert called == [1]


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.validations = []

    def training_step(self, batch, index):
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch, index):
        self.validations.append((self.trainer.current_epoch, index))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train_a_line(folder, *callbacks, ckpt_path=None):
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)), batch_size=2)
    model = Line()
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=2,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data, data, ckpt_path=ckpt_path, weights_only=True)
    return model


def test_a_run_that_was_saved_before_its_validation_goes_on_with_it(tmp_path):
    """The `loops` of Lightning's checkpoints: else print `checkpoint["loops"]["fit_loop"]` as it is now.

    Of the last batch of an epoch, saved before validation, `completed` must be `processed`, and the counts of
    validation must say that its first batch has begun; then Lightning validates when it goes on.
    """

    class Killed(pl.Callback):
        def __init__(self, go_on):
            self.go_on = go_on

        def on_train_batch_end(self, trainer, model, outputs, batch, index):
            if index == 1 and trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)

        def on_save_checkpoint(self, trainer, model, checkpoint):
            if self.go_on:
                of_torch.go_on_with_validation(checkpoint)

    for go_on, expected in ((True, {0, 1}), (False, {1})):
        train_a_line(tmp_path, Killed(go_on))
        resumed = train_a_line(tmp_path, ckpt_path=tmp_path / "last.ckpt")
        assert {epoch for epoch, _ in resumed.validations} == expected


def test_a_model_tells_its_trainer_or_none():
    """`LightningModule._trainer`: else take `model.trainer`, and None where that raises a RuntimeError."""
    model = Line()
    assert of_torch.trainer_of(model) is None
    model.trainer = trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    assert of_torch.trainer_of(model) is trainer


def test_this_process_can_be_made_the_one_that_logs(monkeypatch):
    """`rank_zero_only.rank`: else set SLURM_PROCID to 0 before Lightning is imported."""
    from pytorch_lightning.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 3)
    assert rank_zero_only(lambda: "said")() is None
    of_torch.act_as_first_process()
    assert rank_zero_only(lambda: "said")() == "said"


def test_averages_follow_their_tensors():
    """`torch._foreach_lerp_`: else `average.lerp_(tensor, share)` for each, which is slower."""
    averages = [torch.zeros(2), torch.ones(1)]
    of_torch.follow(averages, [torch.ones(2), torch.zeros(1)], 0.25)
    assert [average.tolist() for average in averages] == [[0.25, 0.25], [0.75]]


def test_a_module_can_have_a_twin_with_other_parts_and_shared_weights():
    """`Module._parameters` and `_modules`: else `copy.deepcopy` with a memo that keeps the weights."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = copy.copy(module._modules)
    twin = of_torch.twin_of(module, lambda name, part: nn.Identity() if name == "0" else part)
    given = torch.ones(1, 2)
    torch.testing.assert_close(twin(given), module[1](given))
    assert twin[1].weight is module[1].weight
    assert dict(module._modules) == dict(before)
    module.register_parameter("frozen", nn.Parameter(torch.ones(1), requires_grad=False))
    assert of_torch.twin_of(module, lambda name, part: part).frozen is None


def test_timm_tells_what_a_model_was_built_with():
    """`_model_args` of timm's models: else `timm.models.get_model_args`, or nothing: names may do."""
    model = timm.create_model("resnet10t", num_classes=0, in_chans=1)
    assert of_torch.built_with(model)["in_chans"] == 1
    assert of_torch.built_with(nn.Linear(1, 1)) == {}


@pytest.mark.parametrize("norm", ["BatchNormAct2d", "SyncBatchNormAct", "FrozenBatchNormAct2d"])
def test_batch_norms_are_told_by_what_those_of_torch_derive_from(norm):
    """`_BatchNorm` of `zoobot/pytorch/encoder.py`: all whose statistics training changes derive from it."""
    from torch.nn.modules.batchnorm import _BatchNorm

    from zoobot.pytorch import encoder

    assert encoder._BatchNorm is _BatchNorm
    assert isinstance(getattr(timm.layers, norm)(4), encoder._BatchNorm) == (norm != "FrozenBatchNormAct2d")
