"""The two engines' encoders are one: weights, features, gradients, statistics, blocks and files."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")

import timm  # noqa: E402  where torch is, timm must be: it is no reason to skip

import zoobot.pytorch.encoders as torch_encoders  # noqa: E402
import zoobot.pytorch.weights as torch_weights  # noqa: E402
import zoobot.tensorflow.encoders as keras_encoders  # noqa: E402
import zoobot.tensorflow.weights as keras_weights  # noqa: E402
from zoobot.pytorch.encoder import find_blocks  # noqa: E402
from zoobot.shared.architectures import architecture_names, get_architecture  # noqa: E402
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint  # noqa: E402
from zoobot.shared.errors import EncoderError  # noqa: E402
from zoobot.tensorflow.families.keras_settings import making_in  # noqa: E402
from zoobot.tensorflow.timm_names import named_variables  # noqa: E402

import keras  # noqa: E402  isort: skip  after the engine, which sets it up
import tensorflow as tf  # noqa: E402  isort: skip

_path = Path(__file__).parents[2] / "benchmarks" / "check_encoders.py"
_spec = importlib.util.spec_from_file_location("check_encoders", _path)
check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check)

#: The small members of every family; `benchmarks/check_encoders.py` compares all of them.
SMALL = [
    "convnext_atto",
    "convnextv2_atto",
    "resnet10t",
    "resnet18",
    "resnet18d",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "tf_efficientnetv2_b0",
    "vit_tiny_patch16_224",
]

#: One tiny network for each family, and what timm and we are told besides its name.
TINY = {
    "convnext": ("test_convnext", {}),
    "convnextv2": ("test_convnext", {"use_grn": True, "conv_mlp": True}),
    "resnet": ("test_resnet", {}),
    "efficientnet": ("test_efficientnet", {}),
    "vit": ("test_vit", {}),
}
SIZE = 64


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def double():
    """Both engines in float64."""
    with making_in("float64"):
        yield


def images_for(encoder, batch=4, dtype="float32", seed=3):
    size, channels = encoder.preprocessing.image_size_pix, encoder.preprocessing.channels
    return np.random.default_rng(seed).normal(size=(batch, size, size, channels)).astype(dtype)


def to_torch(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def torch_features(encoder, images):
    with torch.no_grad():
        return encoder.eval()(to_torch(images)).numpy()


def keras_features(encoder, images):
    return keras.ops.convert_to_numpy(encoder(images, training=False))


def save(weights, encoder, folder):
    return write_checkpoint(folder, NeutralCheckpoint(**weights.encoder_fields(encoder)))


def pair(family, *, dtype="float32", drop_path_rate=0.0, in_channels=3):
    """The same tiny network in both engines, its weights and statistics not trivial."""
    name, args = TINY[family]
    size = {"img_size": SIZE} if family == "vit" else {}
    module = timm.create_model(
        name, num_classes=0, in_chans=in_channels, drop_path_rate=drop_path_rate, **size, **args
    )
    check.randomise(module, in_channels, SIZE)
    if dtype == "float64":
        module.double()
    ours = torch_encoders.encoder_from_module(module, image_size_pix=SIZE)
    network = keras_encoders.build_network(
        get_architecture(name).with_args(args),
        in_channels=in_channels,
        image_size_pix=SIZE,
        drop_path_rate=drop_path_rate,
    )
    theirs = keras_encoders.encoder_from_module(network, image_size_pix=SIZE)
    keras_weights.load_encoder_state(theirs, torch_weights.encoder_state(ours))
    return ours, theirs


class TestFeatures:
    @pytest.mark.parametrize("architecture", SMALL)
    def test_they_agree_and_weights_return_bit_by_bit(self, architecture):
        difference, same = check.compare(architecture, 128)
        assert difference < check.TOLERANCE
        assert same

    @pytest.mark.parametrize(
        "architecture", ["convnext_atto", "resnet10t", "tf_efficientnet_lite0", "test_vit"]
    )
    def test_they_agree_at_the_usual_size(self, architecture):
        assert check.compare(architecture, 224)[0] < check.TOLERANCE

    @pytest.mark.parametrize(
        "architecture", ["test_convnext", "resnet10t", "resnet18", "tf_efficientnet_lite0"]
    )
    def test_odd_sizes_are_padded_alike(self, architecture):
        assert check.compare(architecture, 65)[0] < check.TOLERANCE

    @pytest.mark.parametrize("family", TINY)
    def test_float64_agrees_to_its_own_precision(self, family, double):
        ours, theirs = pair(family, dtype="float64")
        images = images_for(ours, dtype="float64")
        expected = torch_features(ours, images)
        found = keras_features(theirs, images)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


class TestTraining:
    def train_both(self, ours, theirs, images):
        """One pass in training mode: gradients of Σ features² by timm's names, from both engines."""
        ours.train()
        (ours(to_torch(images)) ** 2).sum().backward()
        expected = {n: p.grad.numpy() for n, p in ours.model.named_parameters() if p.grad is not None}
        named = {n: v for n, v in named_variables(theirs.model).items() if v.variable.trainable}
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(theirs(tf.constant(images), training=True) ** 2)
        gradients = tape.gradient(loss, [v.variable.value for v in named.values()])
        found = {
            name: gradient.numpy() if v.axes is None else gradient.numpy().transpose(v.axes)
            for (name, v), gradient in zip(named.items(), gradients, strict=True)
        }
        return expected, found

    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-4)])
    @pytest.mark.parametrize("family", TINY)
    def test_gradients_and_statistics_agree(self, family, dtype, tolerance, request):
        if dtype == "float64":
            request.getfixturevalue("double")
        ours, theirs = pair(family, dtype=dtype)
        before = torch_weights.encoder_state(ours)
        expected, found = self.train_both(ours, theirs, images_for(ours, dtype=dtype))
        assert set(found) == set(expected)
        largest = max(np.abs(gradient).max() for gradient in expected.values())
        for name, gradient in expected.items():
            scale = max(np.abs(gradient).max(), 1e-2 * largest)  # a bias before a norm has a slope of 0
            np.testing.assert_allclose(found[name], gradient, atol=tolerance * scale, err_msg=name)
        expected_state, found_state = torch_weights.encoder_state(ours), keras_weights.encoder_state(theirs)
        moved = {name for name in before if not np.array_equal(before[name], expected_state[name])}
        assert moved == {name for name in before if name not in expected}
        for name in moved:
            np.testing.assert_allclose(
                found_state[name], expected_state[name], rtol=max(tolerance, 1e-9), atol=1e-6
            )

    @pytest.mark.parametrize("family", ["resnet", "convnextv2", "efficientnet"])
    @pytest.mark.parametrize("n_blocks", [0, 2])
    def test_the_same_parts_are_frozen(self, family, n_blocks):
        ours, theirs = pair(family)
        learning = [
            name for block in theirs.blocks[len(theirs.blocks) - n_blocks :] for name in block.parameters
        ]
        for encoder in (ours, theirs):
            encoder.set_trainable(learning)
        before = keras_weights.encoder_state(theirs)
        images = images_for(ours)
        expected = ours.train()(to_torch(images)).detach().numpy()
        found = keras.ops.convert_to_numpy(theirs(images, training=True))
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
        states = torch_weights.encoder_state(ours), keras_weights.encoder_state(theirs)
        moved = [{n for n in before if not np.array_equal(before[n], state[n])} for state in states]
        assert moved[0] == moved[1]
        assert {v.path for v in theirs.trainable_weights} == {
            theirs.timm_variables()[name].path for name in learning
        }

    @pytest.mark.parametrize("family", TINY)
    def test_branches_are_dropped_at_the_same_rates(self, family):
        ours, theirs = pair(family, drop_path_rate=0.3)
        expected = {
            name: module.drop_prob
            for name, module in ours.model.named_modules()
            if type(module).__name__ == "DropPath" and module.drop_prob
        }
        found = {layer.name: layer.rate for layer in theirs.model.layers if "drop_path" in layer.name}
        # timm also makes such modules where no shortcut lets a branch be dropped
        unused = {name for name in expected if not _has_shortcut(ours.model, name)}
        assert found == pytest.approx({k: v for k, v in expected.items() if k not in unused}, rel=1e-6)


def _has_shortcut(model, drop_path):
    return getattr(model.get_submodule(drop_path.rpartition(".")[0]), "has_skip", True)


class TestFiles:
    @pytest.mark.parametrize("family", TINY)
    def test_timm_and_pytorch_load_what_keras_saves(self, family, tmp_path):
        _, theirs = pair(family, in_channels=2)
        folder = save(keras_weights, theirs, tmp_path / "encoder")
        images = images_for(theirs)
        expected = keras_features(theirs, images)
        by_timm = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        again = torch_encoders.load_encoder(folder)
        with torch.no_grad():
            found = by_timm(to_torch(images)).numpy()
        for features in (found, torch_features(again, images)):
            np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())
        state = keras_weights.encoder_state(theirs)
        for loaded in (
            {k: v.numpy() for k, v in by_timm.state_dict().items()},
            torch_weights.encoder_state(again),
        ):
            assert loaded.keys() == state.keys()
            for name, array in state.items():
                np.testing.assert_array_equal(loaded[name], array)
                assert loaded[name].dtype == array.dtype
        assert again.preprocessing == theirs.preprocessing
        assert again.blocks == tuple(
            block._replace(parameters=tuple(n for n in state_order(again) if n in block.parameters))
            for block in theirs.blocks
        )

    @pytest.mark.parametrize("family", TINY)
    def test_keras_loads_what_pytorch_saves(self, family, tmp_path):
        ours, _ = pair(family, in_channels=2)
        theirs = keras_encoders.load_encoder(save(torch_weights, ours, tmp_path / "encoder"))
        images = images_for(ours)
        expected = torch_features(ours, images)
        np.testing.assert_allclose(
            keras_features(theirs, images), expected, atol=1e-4 * np.abs(expected).max()
        )
        assert theirs.preprocessing == ours.preprocessing
        assert theirs.architecture == ours.architecture
        first, second = (
            json.loads(_config(e, w, tmp_path)) for e, w in ((ours, torch_weights), (theirs, keras_weights))
        )
        for config in (first, second):
            config["zoobot"].pop("versions", None)
            config["zoobot"].pop("origin", None)
        assert first == second

    def test_a_timm_folder_with_a_classifier(self, tmp_path):
        model = timm.create_model("test_resnet", num_classes=10).eval()
        timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
        encoder = keras_encoders.load_encoder(tmp_path)
        model.reset_classifier(0)
        images = images_for(encoder)
        with torch.no_grad():
            expected = model(to_torch(images)).numpy()
        np.testing.assert_allclose(
            keras_features(encoder, images), expected, atol=1e-4 * np.abs(expected).max()
        )

    @pytest.mark.parametrize("channels", [1, 5])
    @pytest.mark.parametrize("family", ["convnext", "resnet", "efficientnet", "vit"])
    def test_first_layers_are_adapted_alike(self, family, channels, tmp_path):
        folder = save(torch_weights, pair(family)[0], tmp_path / "encoder")
        ours = torch_encoders.load_encoder(folder, in_channels=channels)
        theirs = keras_encoders.load_encoder(folder, in_channels=channels)
        state = keras_weights.encoder_state(theirs)
        for name, array in torch_weights.encoder_state(ours).items():
            np.testing.assert_array_equal(state[name], array)
        assert theirs.preprocessing == ours.preprocessing

    @pytest.mark.parametrize("size", [32, 96])
    def test_position_embeddings_are_resampled_alike(self, size, tmp_path):
        folder = save(torch_weights, pair("vit")[0], tmp_path / "encoder")
        ours = torch_encoders.load_encoder(folder, image_size_pix=size)
        theirs = keras_encoders.load_encoder(folder, image_size_pix=size)
        images = images_for(ours)
        expected = torch_features(ours, images)
        np.testing.assert_allclose(
            keras_features(theirs, images), expected, atol=1e-4 * np.abs(expected).max()
        )

    def test_an_architecture_that_keras_lacks(self, tmp_path):
        encoder = torch_encoders.load_encoder("mobilenetv3_small_050", image_size_pix=32)
        folder = save(torch_weights, encoder, tmp_path / "encoder")
        for name in (folder, "mobilenetv3_small_050"):
            with pytest.raises(EncoderError, match=r"'mobilenetv3_small_050'.*convnext_nano.*resnet10t"):
                keras_encoders.load_encoder(name)


def state_order(encoder):
    return list(torch_weights.encoder_state(encoder))


def _config(encoder, weights, tmp_path):
    return (save(weights, encoder, tmp_path / weights.__name__) / "config.json").read_text()


@pytest.mark.parametrize("architecture", architecture_names())
def test_blocks_and_entries_are_timms(architecture):
    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=0)
    names = [name for name, _ in model.named_parameters()]
    spec = get_architecture(architecture)
    assert spec.blocks(names) == tuple(
        block._replace(parameters=tuple(n for n in names if n in block.parameters))
        for block in find_blocks(model)
    )
    registered = timm.get_pretrained_cfg(architecture)
    assert (spec.first_conv, spec.classifier) == (registered.first_conv, registered.classifier)
    fixed = registered.input_size[-1] if registered.fixed_input_size else None
    assert spec.fixed_image_size_pix == fixed


@pytest.mark.parametrize(
    "architecture", ["convnext_atto", "resnet18", "efficientnet_b0", "vit_tiny_patch16_224"]
)
def test_untrained_weights_have_timms_distributions(architecture):
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    expected = timm.create_model(architecture, num_classes=0).state_dict()
    found = keras_weights.encoder_state(keras_encoders.load_encoder(architecture))
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        array = tensor.numpy()
        assert found[name].shape == array.shape
        if array.std() == 0 or array.size == 1:
            np.testing.assert_array_equal(found[name], array)
        else:
            spread = 5 / np.sqrt(array.size)  # five standard errors
            assert found[name].std() == pytest.approx(array.std(), rel=spread)
            assert abs(found[name].mean() - array.mean()) < spread * array.std() * 1.5
            assert np.abs(found[name]).max() < 2.5 * np.abs(array).max()
