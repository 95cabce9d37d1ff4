"""Which galaxies taught a model: hashes of ids in a checkpoint, and what is said of galaxies to be scored."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.checkpoint import NeutralCheckpoint, read_checkpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError
from zoobot.shared.files.tensors import write_tensors
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.training.taught import GALAXIES_FILE, Acquaintance, TaughtBy


def checkpoint(**changes):
    return NeutralCheckpoint(
        architecture="resnet10t",
        encoder={"conv1.0.weight": np.ones((1, 1, 1, 1), np.float32)},
        num_features=1,
        pretrained_cfg={"input_size": [3, 32, 32]},
        **changes,
    )


def test_hashes_are_those_of_blake2b_whatever_the_machine_and_the_order():
    taught = TaughtBy.of(["587739505552785605", "J000000.80+004200.0", "NGC 1300"], ["Ω", "\udcff.jpg"])
    again = TaughtBy.of(["NGC 1300", "587739505552785605", "J000000.80+004200.0"], ["\udcff.jpg", "Ω"])
    expected = [0x79899D30F5572A4F]
    assert taught.train.tolist() == again.train.tolist() == sorted(taught.train.tolist())
    assert TaughtBy.of(["NGC 1300"], []).train.tolist() == expected
    assert taught.val.tolist() == again.val.tolist()
    assert taught.counts() == {"train": 3, "val": 2}


def test_a_checkpoint_keeps_eight_bytes_a_galaxy(tmp_path):
    taught = TaughtBy.of(map(str, range(10_000)), map(str, range(10_000, 12_000)))
    write_checkpoint(tmp_path / "c", checkpoint(taught_by=taught))
    read = read_checkpoint(tmp_path / "c").taught_by
    assert read.train.tolist() == taught.train.tolist()
    assert read.val.tolist() == taught.val.tolist()
    size = (tmp_path / "c" / GALAXIES_FILE).stat().st_size
    assert 12_000 * 8 <= size < 12_000 * 8 + 500


def test_a_checkpoint_without_them_goes_on_loading(tmp_path):
    write_checkpoint(tmp_path / "c", checkpoint())
    assert not (tmp_path / "c" / GALAXIES_FILE).exists()
    assert read_checkpoint(tmp_path / "c").taught_by is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": np.zeros(3, np.uint64)},
        {"train": np.zeros(3, np.float32), "val": np.zeros(3, np.uint64)},
        {"train": np.zeros((3, 2), np.uint64), "val": np.zeros(3, np.uint64)},
    ],
)
def test_what_is_no_list_of_hashes_is_refused(arrays, tmp_path):
    write_checkpoint(tmp_path / "c", checkpoint())
    write_tensors(tmp_path / "c" / GALAXIES_FILE, arrays)
    with pytest.raises(CheckpointError, match="64-bit hashes"):
        read_checkpoint(tmp_path / "c")


def test_a_damaged_file_is_refused(tmp_path):
    write_checkpoint(tmp_path / "c", checkpoint())
    (tmp_path / "c" / GALAXIES_FILE).write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    ("taught", "sentence"),
    [
        ([TaughtBy.of("ab", "c")], "2 of these 5 galaxies were trained on and 1 chose its best epoch and"),
        ([TaughtBy.of("x", "cd")], "2 of these 5 galaxies chose its best epoch and calibration"),
        ([TaughtBy.of("a", "b"), TaughtBy.of("b", "a")], "2 of these 5 galaxies were trained on"),
        ([TaughtBy.of("a", "x"), None], "1 of these 5 galaxies were trained on"),
        ([TaughtBy.of("x", "y")], "by their ids, none of these galaxies was trained on"),
        ([TaughtBy.of("x", "y"), None], "the checkpoint does not say which galaxies it was trained on"),
        ([TaughtBy.of("", "")], "by their ids, none of these galaxies was trained on"),
    ],
)
def test_what_is_said_of_galaxies_that_models_have_met(taught, sentence):
    seen = Acquaintance.of(taught, list("abcde"))
    assert seen.sentence().startswith(sentence)
    assert seen.is_known == (None not in taught)


def test_a_split_says_where_each_galaxy_went(tmp_path):
    table = pd.DataFrame({"id_str": list("abcdef"), "file_loc": "a.jpg", "ring": [0, 1] * 3})
    (tmp_path / "a.jpg").touch()
    galaxies = GalaxyData(table, root=tmp_path, label_cols=["ring"], val_fraction=0.3, test_fraction=0.2)
    galaxies.setup()
    parts = {name: part.ids for name, part in galaxies.galaxies.items()}
    split = galaxies.split_table(pd.DataFrame({"id_str": parts["test"]}))
    assert split["id_str"].tolist() == [one for part in parts.values() for one in part]
    found = {name: group["id_str"].tolist() for name, group in split.groupby("split")}
    assert found == {"train": parts["train"], "val": parts["val"], "failed": parts["test"]}
