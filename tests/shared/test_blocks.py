import pytest

from zoobot.shared.errors import ConfigError, EncoderError
from zoobot.shared.training.blocks import Block, check_blocks, count_trainable_blocks, decays, plan_training

SHAPES = {
    "stem.weight": (8, 3, 4, 4),
    "stem.bias": (8,),
    "middle.weight": (16, 8),
    "middle.norm.weight": (16,),
    "top.weight": (4, 16),
    "top.pos_embed": (1, 5, 16),
}
BLOCKS = [
    Block("stem", ("stem.weight", "stem.bias")),
    Block("middle", ("middle.weight", "middle.norm.weight")),
    Block("top", ("top.weight", "top.pos_embed")),
]


def plan(n_blocks, lr_decay=0.5):
    return plan_training(BLOCKS, SHAPES, n_blocks=n_blocks, lr_decay=lr_decay)


def test_no_block_learns_by_default():
    assert plan(0) == {}


def test_blocks_learn_from_the_top_and_slower_below():
    factors = {name: p.lr_factor for name, p in plan(2).items()}
    assert factors == {
        "top.weight": 0.5,
        "top.pos_embed": 0.5,
        "middle.weight": 0.25,
        "middle.norm.weight": 0.25,
    }


def test_all_is_every_block():
    assert plan("all") == plan(3)
    assert set(plan("all")) == set(SHAPES)
    assert plan("all")["stem.bias"].lr_factor == 0.125


def test_vectors_and_tokens_do_not_decay():
    decaying = {name for name, p in plan("all").items() if p.decays}
    assert decaying == {"stem.weight", "middle.weight", "top.weight"}
    assert not decays("cls_token", (1, 1, 192))
    assert decays("linear.weight", (1, 640))  # a head with one output is still a matrix
    assert not decays("gain", ())


@pytest.mark.parametrize("n_blocks", [4, -1, 1.0, True, "every", None])
def test_impossible_n_blocks_names_the_blocks(n_blocks):
    with pytest.raises(ConfigError, match=r"0 \(head only\) to 3, or 'all'.*stem, middle, top"):
        count_trainable_blocks(BLOCKS, n_blocks)


@pytest.mark.parametrize("lr_decay", [0, -0.5, 1.1, float("nan")])
def test_impossible_lr_decay(lr_decay):
    with pytest.raises(ConfigError, match="lr_decay must be in"):
        plan(1, lr_decay)


def test_blocks_must_hold_each_parameter_once():
    with pytest.raises(EncoderError, match=r"in no block: \['stem.bias', 'stem.weight'\]"):
        check_blocks(BLOCKS[1:], SHAPES)
    with pytest.raises(EncoderError, match=r"repeated: \['top.pos_embed', 'top.weight'\]"):
        check_blocks([*BLOCKS, BLOCKS[2]], SHAPES)
    with pytest.raises(EncoderError, match=r"not in the encoder: \['tip.weight'\]"):
        check_blocks([*BLOCKS, Block("tip", ("tip.weight",))], SHAPES)
