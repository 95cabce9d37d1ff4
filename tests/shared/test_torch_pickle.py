"""Files that `torch.save` wrote, in both layouts, read without torch and without running them."""

import pickle
import struct
import zipfile

import numpy as np
import pytest

from zoobot.shared.checkpoint import read_encoder_file
from zoobot.shared.errors import CheckpointError
from zoobot.shared.files import torch_pickle
from zoobot.shared.files.torch_pickle import read_torch_object, read_torch_pickle

# A state dict of one tensor "w", opcode by opcode, so that torch need not be there.
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tR"
)
STATE_DICT = b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w" + TENSOR + b"u."
NUMBERS = np.arange(6, dtype="<f4").tobytes()


def write_zip(path, members=(), *, compress=zipfile.ZIP_STORED):
    """A file as torch writes it since 1.6, with some members changed (None: left out)."""
    content = {"data.pkl": STATE_DICT, "byteorder": b"little", "data/0": NUMBERS, "version": b"3\n"}
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in (content | dict(members)).items():
            if data is not None:
                archive.writestr(f"archive/{name}", data)
    return path


@pytest.fixture(params=["zip", "old"])
def save(request):
    """`torch.save` in one of the two layouts."""
    torch = pytest.importorskip("torch")

    def save(path, value):
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return save


class TestTensors:
    def test_of_every_kind_and_stride(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        base = torch.arange(24).reshape(2, 3, 4)
        kinds = (
            *(torch.float64, torch.float32, torch.float16, torch.int64, torch.int32, torch.int16),
            *(torch.int8, torch.uint8),
        )
        state = {str(kind): base.to(kind) for kind in kinds}
        state |= {
            "bool": base > 5,
            "transposed": base.permute(2, 0, 1),
            "slice": base[:, 1:, ::2],
            "shared": base[1],
            "scalar": torch.tensor(3.5),
            "empty": torch.zeros(0, 4),
            "parameter": torch.nn.Parameter(torch.ones(2)),
        }
        arrays = read_torch_pickle(save(tmp_path / "t.pth", state))
        assert list(arrays) == list(state)
        for name, tensor in state.items():
            expected = tensor.detach().numpy()
            assert arrays[name].dtype == expected.dtype
            assert arrays[name].shape == expected.shape
            np.testing.assert_array_equal(arrays[name], expected)

    def test_bfloat16_becomes_float32_without_loss(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        tensor = torch.tensor([[1.5, -2.25, float("inf")], [3e38, 1e-38, 0.1]]).to(torch.bfloat16)
        (array,) = read_torch_pickle(save(tmp_path / "t.pth", {"w": tensor})).values()
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, tensor.float().numpy())

    def test_a_whole_model_with_the_metadata_of_its_layers(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        arrays = read_torch_pickle(save(tmp_path / "t.pth", model.state_dict()))
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(arrays[name], tensor.numpy())

    def test_a_shared_storage_is_read_once_and_arrays_can_be_written(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        base = torch.arange(6.0)
        arrays = read_torch_pickle(save(tmp_path / "t.pth", {"a": base, "b": base[2:]}))
        arrays["a"][2] = 17
        assert arrays["b"].tolist() == [17, 3, 4, 5]

    def test_torch_need_not_be_there(self, tmp_path):
        arrays = read_torch_pickle(write_zip(tmp_path / "t.bin"))
        assert arrays["w"].tolist() == [[0, 1, 2], [3, 4, 5]]

    def test_the_byte_order_of_the_writer(self, tmp_path):
        swapped = np.arange(6, dtype=">f4").tobytes()
        big = write_zip(tmp_path / "big.bin", {"byteorder": b"big", "data/0": swapped})
        assert read_torch_pickle(big)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        before = write_zip(tmp_path / "before.bin", {"byteorder": None})  # torch before 2.1 says nothing
        assert read_torch_pickle(before)["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


class TestWholeObjects:
    def test_nested_content_keeps_its_form(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        layer = torch.nn.Linear(2, 3)
        saved = {
            "state_dict": layer.state_dict(),
            "hyper_parameters": {"num_classes": 2, "cols": ["a", ("b", None)], "rate": 1e-3, "on": True},
            "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        }
        found = read_torch_object(save(tmp_path / "t.ckpt", saved))
        assert found["hyper_parameters"] == saved["hyper_parameters"]
        assert found["optimizer_states"][0]["state"][0]["step"].tolist() == 1
        np.testing.assert_array_equal(found["state_dict"]["weight"], layer.weight.detach().numpy())
        some = read_torch_object(tmp_path / "t.ckpt", keys=["state_dict"])
        assert list(some) == ["state_dict"]

    def test_numbers_of_entries_that_are_not_kept_are_not_read(self, tmp_path):
        body = b"\x80\x02}(X\x01\x00\x00\x00a" + TENSOR + b"X\x01\x00\x00\x00bK\x07u."
        path = write_zip(tmp_path / "t.ckpt", {"data.pkl": body, "data/0": None})
        assert read_torch_object(path, keys=["b"]) == {"b": 7}
        with pytest.raises(CheckpointError, match="has no data/0, which its pickle names"):
            read_torch_object(path)

    def test_allowed_classes_become_inert_objects(self, tmp_path, save):
        from zoobot.shared.trees.tree import Question

        made = _Pretend(Question, {"text": "ring", "answers": ["yes", "no"]})
        name = f"{Question.__module__}.Question"
        save(tmp_path / "t.ckpt", {"schema": made, "again": made})
        found = read_torch_object(tmp_path / "t.ckpt", inert={name})
        assert found["schema"] is found["again"]
        assert type(found["schema"]) is not Question
        assert type(found["schema"]).__name__ == "Question"
        assert (found["schema"].text, found["schema"].answers) == ("ring", ["yes", "no"])
        with pytest.raises(CheckpointError, match=f"asks for {name}, which is not allowed"):
            read_torch_object(tmp_path / "t.ckpt")


class _Pretend:
    """Pickled as an object of another class, with a state of its own."""

    def __init__(self, kind, state):
        self.kind, self.state = kind, state

    def __reduce__(self):
        return (self.kind, (), self.state)


class TestRefused:
    def test_code_is_never_run(self, tmp_path, save):
        ran = tmp_path / "ran"

        class Trap:
            def __reduce__(self):
                return (open, (str(ran), "w"))

        save(tmp_path / "trap.pth", {"w": Trap()})
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap()))
        for name in ("trap.pth", "plain.pth"):
            with pytest.raises(CheckpointError, match="not allowed: only tensors are read"):
                read_torch_pickle(tmp_path / name)
        assert not ran.exists()

    def test_an_inert_class_stays_inert(self, tmp_path):
        ran = tmp_path / "ran"

        class Trap:
            def __reduce__(self):
                return (open, (str(ran), "w"))

        path = write_zip(tmp_path / "t.ckpt", {"data.pkl": pickle.dumps({"x": Trap()}, protocol=2)})
        opener = f"{open.__module__}.open"
        assert read_torch_object(path, inert={opener})["x"].args == (str(ran), "w")
        assert not ran.exists()

    def test_files_that_end_early_are_named(self, tmp_path, save):
        torch = pytest.importorskip("torch")
        whole = save(tmp_path / "t.pth", {"w": torch.ones(5, 5)}).read_bytes()
        for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.pth").write_bytes(whole[:size])
            with pytest.raises(CheckpointError, match=r"cut.pth"):
                read_torch_pickle(tmp_path / "cut.pth")
        with pytest.raises(CheckpointError, match="can't read"):
            read_torch_pickle(tmp_path / "gone.pth")

    def test_a_changed_number_is_found_by_its_checksum(self, tmp_path):
        path = write_zip(tmp_path / "t.bin")
        path.write_bytes(path.read_bytes().replace(NUMBERS, NUMBERS[:-1] + b"\x41"))
        with pytest.raises(CheckpointError, match="Bad CRC-32"):
            read_torch_pickle(path)

    def test_other_content_than_a_state_dict(self, tmp_path, save):
        with pytest.raises(CheckpointError, match="one tensor for each name"):
            read_torch_pickle(save(tmp_path / "n.pth", {"epoch": 3}))

    @pytest.mark.parametrize(
        ("members", "said"),
        [
            ({"data/0": NUMBERS[:-4]}, "expected 6 numbers of 4 bytes, got 20 bytes"),
            ({"data/0": None}, "has no data/0"),
            ({"data.pkl": None}, "without the one data.pkl"),
            ({"other/data.pkl": b"", "data.pkl": None}, "without the one data.pkl"),
            ({"constants.pkl": b""}, "TorchScript program"),
            ({"byteorder": b"middle"}, "little or big"),
            ({"data.pkl": STATE_DICT.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86")}, "reaches outside"),
            ({"data.pkl": STATE_DICT.replace(b"K\x03K\x01\x86", b"K\x00K\x00\x86")}, None),
            (
                {"data.pkl": STATE_DICT.replace(b"K\x02K\x03\x86K\x03K\x01", b"K\x09K\x09\x86K\x00K\x00")},
                "repeats",
            ),
            ({"data.pkl": STATE_DICT.replace(b"FloatStorage", b"UntypedStorage")}, "torch.UntypedStorage"),
            ({"data.pkl": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."}, "maximum recursion depth"),
            ({"data.pkl": pickle.dumps([1, 2], protocol=2)}, "one tensor for each name"),
        ],
    )
    def test_zips_that_torch_would_not_write(self, tmp_path, members, said):
        path = write_zip(tmp_path / "t.bin", members)
        if said is None:
            assert read_torch_pickle(path)["w"].tolist() == [[0, 0, 0], [0, 0, 0]]
            return
        with pytest.raises(CheckpointError, match=said):
            read_torch_pickle(path)

    def test_compressed_members(self, tmp_path):
        path = write_zip(tmp_path / "bomb.bin", compress=zipfile.ZIP_DEFLATED)
        with pytest.raises(CheckpointError, match="is compressed or encrypted"):
            read_torch_pickle(path)
        bomb = write_zip(tmp_path / "b.bin", {"data/0": bytes(10**6)}, compress=zipfile.ZIP_DEFLATED)
        with pytest.raises(CheckpointError, match="its members claim"):
            read_torch_pickle(bomb)

    def test_two_members_of_one_name(self, tmp_path):
        path = write_zip(tmp_path / "t.bin")
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data/0", NUMBERS)
        with pytest.raises(CheckpointError, match="one name"):
            read_torch_pickle(path)

    def test_a_directory_without_end(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch_pickle, "_LARGEST_DIRECTORY", 2000)
        monkeypatch.setattr(torch_pickle, "_CHUNK", 2000)
        path = write_zip(tmp_path / "t.bin", {f"data/{i}": b"" for i in range(1, 100)})
        with pytest.raises(CheckpointError, match="no honest one more than 2000"):
            read_torch_pickle(path)

    @pytest.mark.parametrize("layout", ["zip", "old"])
    def test_a_pickle_without_end(self, tmp_path, monkeypatch, layout):
        monkeypatch.setattr(torch_pickle, "_LARGEST_PICKLE", 100)
        path = tmp_path / "t.bin"
        if layout == "zip":
            write_zip(path)
        else:
            path.write_bytes(b"\x80\x02" + b"]0" * 200 + b"].")
        with pytest.raises(CheckpointError, match="no honest one"):
            read_torch_pickle(path)

    def test_a_pickle_of_endless_steps(self, tmp_path, monkeypatch):
        monkeypatch.setattr(torch_pickle, "_MOST_STEPS", 1000)
        read_torch_object(write_zip(tmp_path / "t.bin"))
        body = b"\x80\x02(" + b"]" * 1000 + b"l."
        with pytest.raises(CheckpointError, match="1000 steps"):
            read_torch_object(write_zip(tmp_path / "t.bin", {"data.pkl": body}))

    def test_endless_memory(self, tmp_path):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"\x80\x02K\x01r\xff\xff\xff\x7f.")  # an object of the number 2**31 - 1
        with pytest.raises(CheckpointError, match="numbers an object 2147483647, in a file of 10 bytes"):
            read_torch_pickle(path)

    def test_one_content_copied_often(self, tmp_path):
        pairs = b"(" + b"".join(b"K" + bytes([i]) + b"K\x00\x86" for i in range(200)) + b"t"
        body = b"\x80\x02ccollections\nOrderedDict\nq\x000" + pairs + b"q\x010(" + b"h\x00h\x01\x85R" * 100
        with pytest.raises(CheckpointError, match="each of them in the file"):
            read_torch_pickle(write_zip(tmp_path / "t.bin", {"data.pkl": body + b"l."}))

    @pytest.mark.parametrize("target", [b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n"])
    @pytest.mark.parametrize("state", [b"}X\x01\x00\x00\x00aK\x01s", b"N}X\x01\x00\x00\x00aK\x01s\x86"])
    def test_what_the_reader_lends_can_not_be_changed(self, tmp_path, target, state):
        body = b"\x80\x02" + target + state + b"b."
        with pytest.raises(CheckpointError, match="damaged"):
            read_torch_pickle(write_zip(tmp_path / "t.bin", {"data.pkl": body}))

    def test_a_pointer_of_git_lfs(self, tmp_path):
        for name in ("pytorch_model.bin", "model.safetensors"):
            path = tmp_path / name
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 62000000\n")
            with pytest.raises(CheckpointError, match=r"pointer of Git LFS.*git lfs pull"):
                read_encoder_file(path)

    def test_old_files_name_storages_of_one_kind(self, tmp_path):
        parts = [pickle.dumps(value, protocol=2) for value in (torch_pickle._MAGIC, 1001, {})]
        other = TENSOR.replace(b"FloatStorage", b"DoubleStorage")
        body = b"\x80\x02}(X\x01\x00\x00\x00a" + TENSOR + b"X\x01\x00\x00\x00b" + other + b"u."
        content = [*parts, body, pickle.dumps(["0"], protocol=2), struct.pack("<q", 6), NUMBERS]
        (tmp_path / "t.pth").write_bytes(b"".join(content))
        with pytest.raises(CheckpointError, match="two kinds of numbers"):
            read_torch_pickle(tmp_path / "t.pth")
