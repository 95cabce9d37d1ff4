import pytest

from zoobot.shared.architectures import architecture_names, get_architecture
from zoobot.shared.errors import EncoderError

PROMISED = [
    *(
        f"convnext{v}_{size}"
        for v in ("", "v2")
        for size in ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large"]
    ),
    *(f"resnet{depth}" for depth in (18, 26, 34, 50, 101)),
    *(f"resnet{depth}d" for depth in (18, 26, 34, 50, 101)),
    *("resnet10t", "resnet14t"),
    *(f"{tf}efficientnet_{kind}{size}" for tf in ("", "tf_") for kind in ("b", "lite") for size in range(5)),
    *("tf_efficientnetv2_s", "tf_efficientnetv2_m", "efficientnetv2_s", "efficientnetv2_rw_s"),
    *(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base")),
]


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_architecture_is_described(name):
    assert get_architecture(name).name == name


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("convnext_nano", 640),
        ("resnet18", 512),
        ("resnet50", 2048),
        ("efficientnet_b4", 1792),
        ("tf_efficientnet_lite4", 1280),
        ("efficientnetv2_rw_s", 1792),
        ("vit_small_patch16_224", 384),
    ],
)
def test_features(name, features):
    assert get_architecture(name).num_features == features


def test_unknown_names_list_what_there_is():
    with pytest.raises(EncoderError, match=r"'regnety_002'.*'resnet10t'") as caught:
        get_architecture("regnety_002")
    assert all(name in str(caught.value) for name in architecture_names())


class TestArguments:
    def test_lists_of_json_become_tuples(self):
        changed = get_architecture("convnext_nano").with_args({"depths": [1, 1, 1, 1], "norm_eps": 1e-5})
        assert changed.depths == (1, 1, 1, 1)
        assert changed.norm_eps == 1e-5
        assert changed.dims == get_architecture("convnext_nano").dims

    def test_what_says_nothing_new_is_accepted(self):
        spec = get_architecture("resnet18")
        assert spec.with_args({"global_pool": "avg", "drop_rate": 0.2, "num_classes": 10}) == spec

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            ({"global_pool": "max"}, "global_pool='avg'"),
            ({"aa_layer": "blur"}, r"can't build resnet18 with \['aa_layer'\].*'stem_width'"),
        ],
    )
    def test_what_can_not_be_built_is_refused(self, args, words):
        with pytest.raises(EncoderError, match=words):
            get_architecture("resnet18").with_args(args)


class TestBlocks:
    def test_a_final_norm_belongs_to_the_top_and_similar_names_stay_apart(self):
        names = [
            "conv1.weight",
            "bn1.weight",
            *(f"layer{i}.0.bn1.weight" for i in (1, 2, 3, 4)),
            "extra.weight",
        ]
        blocks = {block.name: block.parameters for block in get_architecture("resnet18").blocks(names)}
        assert blocks["stem"] == ("conv1.weight", "bn1.weight")
        assert blocks["layer4"] == ("layer4.0.bn1.weight", "extra.weight")

    def test_ten_blocks_are_not_one(self):
        spec = get_architecture("vit_tiny_patch16_224")
        names = ["pos_embed", *(f"blocks.{i}.norm1.weight" for i in range(12))]
        assert [len(block.parameters) for block in spec.blocks(names)] == [1] * 13

    def test_names_of_another_architecture(self):
        with pytest.raises(EncoderError, match=r"none in \['stem', 'layer1'"):
            get_architecture("resnet18").blocks(["stages.0.weight"])


def test_images_that_would_vanish():
    with pytest.raises(EncoderError, match="at least 32 pixels a side, got 31"):
        get_architecture("convnext_atto").check_image_size(31)
    get_architecture("convnext_atto").check_image_size(32)
