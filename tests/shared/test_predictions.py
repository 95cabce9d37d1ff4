"""Prediction tables: exact in every format, whole or absent, refused before work where they can't be made."""

import csv
import os
import stat
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.errors import MissingPackageError, NonFiniteError, PredictionsError, WriteError
from zoobot.shared.files import whole as whole_files
from zoobot.shared.files.spreadsheets import guarded
from zoobot.shared.predictions import Predictions, read_prediction_metadata, read_predictions
from zoobot.shared.tables import writer as module
from zoobot.shared.tables.layout import Column, meaning_of
from zoobot.shared.tables.writer import PredictionWriter, check_save_loc

SUFFIXES = [".parquet", ".csv", ".hdf5", ".h5", ".fits", ".vot"]
COLUMNS = ["smooth-or-featured_smooth_concentration", 'größe, of a "bar"', "星系"]
IDS = [
    "587739505552785605",
    "007",
    "NGC 1300",
    "é 星系 🌌",
    'a,"b"',
    "NA",
    "null",
    "nan",
    "1e5",
    " pad ",
    "line\nbreak",
    "-",
]


@pytest.fixture
def values():
    """Float32 of every size, whose shortest decimals have up to nine digits."""
    rng = np.random.default_rng(0)
    numbers = (rng.normal(size=(len(IDS), 3)) * 10.0 ** rng.integers(-40, 38, (len(IDS), 3))).astype(
        np.float32
    )
    numbers[0] = [np.finfo(np.float32).max, np.finfo(np.float32).tiny, np.float32(1) / 3]
    numbers[1] = [np.float32(1e-45), -0.0, 16777216]
    return numbers


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".hdf5", ".h5", ".PARQUET", ".CSV"])
def test_tables_come_back_exactly_as_written(tmp_path, values, suffix):
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, COLUMNS) as writer:
        writer.write(IDS[:5], values[:5])
        writer.write(IDS[5:6], values[5:6].astype(np.float64))
        writer.write(IDS[6:], values[6:])
    table = read_predictions(path)
    assert list(table.columns) == ["id_str", *COLUMNS]
    assert table["id_str"].tolist() == IDS
    assert set(table[COLUMNS].dtypes) == {np.dtype(np.float32)}
    np.testing.assert_array_equal(table[COLUMNS].to_numpy().view(np.uint32), values.view(np.uint32))
    assert os.listdir(tmp_path) == [path.name]


def test_fits_tables_are_exact_and_refuse_what_fits_cannot_hold(tmp_path, values):
    ids = ["587739505552785605", "007", "x" * 100, " pad", 'a,"b"', "1e5"]
    columns = ["smooth-or-featured_smooth_concentration", "of a 'bar'", "x" * 68]
    metadata = {"catalog": "星系 'quoted'", "text": "x" * 5000}
    with PredictionWriter(tmp_path / "p.fits", columns, samples=True, metadata=metadata) as writer:
        writer.write(ids, values[:6], sample=0)
        writer.write(ids, values[6:], sample=1)
    table = read_predictions(tmp_path / "p.fits")
    assert list(table) == ["id_str", "sample", *columns]
    assert table["id_str"].tolist() == ids * 2
    np.testing.assert_array_equal(table[columns].to_numpy().view(np.uint32), values.view(np.uint32))
    assert read_prediction_metadata(tmp_path / "p.fits") == metadata
    fits = pytest.importorskip("astropy.io.fits")
    with fits.open(tmp_path / "p.fits") as hdus:
        hdus.verify("exception")
        assert hdus[1].data["id_str"][0] == ids[0]
    with (
        pytest.raises(PredictionsError, match="can't hold the id 'é'"),
        PredictionWriter(tmp_path / "q.fits", ["a"]) as writer,
    ):
        writer.write(["é"], np.ones((1, 1)))
    refused = (
        (["ö"], "called 'ö'"),
        (["x" * 69], "called"),
        (["a", "A"], "letter case"),
        (map(str, range(999)), "1,000"),
    )
    for columns, message in refused:
        writer = PredictionWriter(tmp_path / "q.fits", list(columns))
        with pytest.raises(PredictionsError, match=message):
            writer.__enter__()
    assert os.listdir(tmp_path) == ["p.fits"]


FURTHER = {
    "kind": (["spiral", "", "=cmd", "7"], "str"),
    "ra": ([150.123456789012, np.nan, 0.1, -1e-300], "float64"),
    "z": (np.array([0.1, np.nan, 1 / 3, 0], np.float32), "float32"),
    "objid": ([2**53 + 1, -(2**63), 2**63 - 1, 0], "int64"),
    "size": ([1, -2, 3, 4], "int16"),
    "good": ([True, False, True, True], "bool"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_further_columns_keep_their_types_and_digits(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    further = [Column(name, dtype) for name, (_, dtype) in FURTHER.items()]
    given = [np.array(values, object if dtype == "str" else dtype) for values, dtype in FURTHER.values()]
    numbers = np.arange(4, dtype=np.float32)[:, None] / 3
    with PredictionWriter(path, ["T_predicted"], further=further) as writer:
        writer.write(["a", "b"], numbers[:2], further=[column[:2] for column in given])
        writer.write(["c", "d"], numbers[2:], further=[column[2:] for column in given])
        with pytest.raises(PredictionsError, match="needs 6 further columns of 1 values"):
            writer.write(["e"], numbers[:1])
    table = read_predictions(path)
    assert list(table) == ["id_str", "T_predicted", *FURTHER]
    for name, column in zip(FURTHER, given, strict=True):
        if FURTHER[name][1] == "str":
            assert table[name].tolist() == column.tolist()
        else:
            np.testing.assert_array_equal(table[name].to_numpy(), column)
            same = table[name].dtype == column.dtype
            assert same or (suffix == ".csv" and name == "size")  # CSV says nothing of types
    with pytest.raises(PredictionsError, match="must be different names"):
        PredictionWriter(path, ["a"], further=[Column("a")])


def test_columns_of_catalogs_may_be_called_like_numbers_of_ours(tmp_path):
    further = [Column("ring_predicted", "str"), Column("T_lower", "float64"), Column("objid", "str")]
    given = [["spiral", ""], [1 / 3, np.nan], ["1237648720693755918", ""]]
    for suffix in SUFFIXES:
        with PredictionWriter(tmp_path / f"p{suffix}", ["T_predicted"], further=further) as writer:
            writer.write(["a", "b"], np.ones((2, 1)), further=[np.array(g, object) for g in given])
        table = read_predictions(tmp_path / f"p{suffix}")
        for column, values in zip(further, given, strict=True):
            np.testing.assert_array_equal(table[column.name].tolist(), values)


def test_names_of_ours_have_ucds_of_the_standard():
    ucds = pytest.importorskip("astropy.io.votable.ucd")
    names = ["a_probability", "T_predicted", "a-b_c_concentration_1", "a_fraction", "a_asked", "T_lower_90"]
    names += ["a_fraction_upper", "kind_set_size_90", "set_68.27", "feature_0001"]
    for name in names:
        told = meaning_of(name).told()
        assert told["description"]
        assert ucds.parse_ucd(told["ucd"], check_controlled_vocabulary=True)
    assert meaning_of("other").told() == {}


@pytest.mark.parametrize("suffix", [".fits", ".vot"])
def test_units_ucds_and_descriptions_are_read_by_astropy(tmp_path, suffix):
    tables = pytest.importorskip("astropy.table")
    path = tmp_path / f"p{suffix}"
    told = {"unit": "deg", "ucd": "pos.eq.ra;meta.main", "description": "Right ascension <ICRS> & 'more'"}
    number = Column("", "float32", "", "stat.fit.param", "Predicted T")
    meta = {"text": "<&\"'>", "n": 1}
    with PredictionWriter(
        path, ["T-1"], further=[Column("ra", "float64", **told)], meanings={"T-1": number}, metadata=meta
    ) as writer:
        writer.write(["a"], np.ones((1, 1)), further=[np.array([10.5])])
    assert read_prediction_metadata(path) == meta
    if suffix == ".vot":
        votable = pytest.importorskip("astropy.io.votable")
        assert votable.validate(path, output=None)
        field = votable.parse_single_table(path).get_field_by_id_or_name("ra")
        assert (str(field.unit), field.ucd, field.description) == tuple(told.values())
        found = tables.Table.read(path, format="votable", use_names_over_ids=True)
        assert found["id_str"].meta["ucd"] == "meta.id;meta.main"
    else:
        header = pytest.importorskip("astropy.io.fits").getheader(path, 1)
        assert [header[f"{key}3"] for key in ("TUNIT", "TUCD", "TCOMM")] == list(told.values())
        assert header["TUCD2"] == "stat.fit.param"
        found = tables.Table.read(path)
    assert found["ra"].unit == "deg"
    assert (found["ra"][0], found["T-1"][0]) == (10.5, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("samples", [False, True])
def test_no_row_and_one_row(tmp_path, suffix, rows, samples):
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, ["a", "b"], samples=samples) as writer:
        if rows:
            writer.write(["007"], np.array([[1, 2]]), sample=3 if samples else None)
    table = read_predictions(path)
    assert list(table.columns) == ["id_str", *(["sample"] if samples else []), "a", "b"]
    assert len(table) == rows
    assert table["a"].dtype == np.float32
    assert pd.api.types.is_string_dtype(table["id_str"]) or rows == 0
    if rows and samples:
        assert table["sample"].tolist() == [3]
        assert table["sample"].dtype == np.int32


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_samples_are_one_number_for_a_batch_or_one_for_each_galaxy(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, ["a"], samples=True) as writer:
        writer.write(["x", "y"], np.array([[1.0], [2.0]]), sample=0)
        writer.write(["x", "x"], np.array([[3.0], [4.0]]), sample=np.array([1, 2]))
    table = read_predictions(path)
    assert table["id_str"].tolist() == ["x", "y", "x", "x"]
    assert table["sample"].tolist() == [0, 0, 1, 2]
    assert table["a"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_batches_flow_to_disk_while_memory_stays_small(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(module, "_ROWS_IN_MEMORY", 100)
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, ["a", "b"]) as writer:
        for start in range(0, 1050, 7):
            writer.write(
                [f"g{i}" for i in range(start, start + 7)], np.arange(2 * start, 2 * start + 14).reshape(7, 2)
            )
            assert sum(len(batch[0]) for batch in writer._waiting) < 107
        partial = [name for name in os.listdir(tmp_path) if name.endswith(".draft")]
        assert len(partial) == 1
        assert not path.exists()
    table = read_predictions(path)
    assert table["id_str"].tolist() == [f"g{i}" for i in range(1050)]
    np.testing.assert_array_equal(table[["a", "b"]].to_numpy().ravel(), np.arange(2100))


def test_wide_tables_wait_for_fewer_rows(tmp_path):
    assert PredictionWriter(tmp_path / "p.csv", ["a"])._most_rows == 65_536
    assert PredictionWriter(tmp_path / "p.csv", [str(i) for i in range(1024)])._most_rows == 1024


def test_the_batch_may_be_overwritten_after_writing(tmp_path):
    batch = np.array([[1.0]], dtype=np.float32)
    with PredictionWriter(tmp_path / "p.csv", ["a"]) as writer:
        writer.write(["x"], batch)
        batch[:] = 7
    assert read_predictions(tmp_path / "p.csv")["a"].tolist() == [1]


def test_csv_can_be_read_by_anyone(tmp_path, values):
    with PredictionWriter(tmp_path / "p.csv", COLUMNS) as writer:
        writer.write(IDS, values)
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id_str", *COLUMNS]
    assert [row[0] for row in rows[1:]] == [guarded(galaxy) for galaxy in IDS]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]]).astype(np.float32), values)


@pytest.mark.parametrize("suffix", [".parquet", ".hdf5"])
def test_metadata_travels_inside_the_file(tmp_path, suffix):
    metadata = {
        "model": "zoobot-mini",
        "versions": {"zoobot": "3.0"},
        "note": "é" * 100_000,
        "seeds": [1, None],
    }
    with PredictionWriter(tmp_path / f"p{suffix}", ["a"], metadata=metadata) as writer:
        writer.write(["x"], np.zeros((1, 1)))
    assert read_prediction_metadata(tmp_path / f"p{suffix}") == metadata
    with PredictionWriter(tmp_path / f"q{suffix}", ["a"]):
        pass
    assert read_prediction_metadata(tmp_path / f"q{suffix}") == {}


def test_metadata_is_not_written_into_csv_and_must_be_json(tmp_path):
    with PredictionWriter(tmp_path / "p.csv", ["a"], metadata={"model": "m"}):
        pass
    assert (tmp_path / "p.csv").read_text() == "id_str,a\n"
    assert read_prediction_metadata(tmp_path / "p.csv") == {}
    with pytest.raises(PredictionsError, match=r"metadata must be JSON-ready"):
        PredictionWriter(tmp_path / "p.csv", ["a"], metadata={"path": tmp_path})


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_non_finite_predictions_name_the_galaxies_and_leave_no_file(tmp_path, suffix, bad):
    batch = np.zeros((20, 2))
    batch[3, 1] = batch[5, 0] = bad

    def write_both():
        with PredictionWriter(tmp_path / f"p{suffix}", ["a", "b"]) as writer:
            writer.write(["fine"], np.zeros((1, 2)))
            writer.write([f"g{i}" for i in range(20)], batch)

    with pytest.raises(NonFiniteError, match=r"2 galaxies .* \(first 'b' =\s+-?(nan|inf)\): \['g3', 'g5'\]"):
        write_both()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_run_leaves_the_older_table_as_it_was(tmp_path, suffix, error):
    path = tmp_path / f"p{suffix}"
    with PredictionWriter(path, ["a"]) as writer:
        writer.write(["old"], np.ones((1, 1)))
    before = path.read_bytes()

    def run_and_fail():
        with PredictionWriter(path, ["b"]) as writer:
            writer.write(["new"], np.ones((1, 1)))
            raise error

    with pytest.raises(error):
        run_and_fail()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    with PredictionWriter(path, ["b"]) as writer:
        writer.write(["new"], np.ones((1, 1)))
    assert list(read_predictions(path).columns) == ["id_str", "b"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_at_the_last_moment_leaves_nothing(tmp_path, monkeypatch, suffix):
    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files, "sync", fail)
    with (
        pytest.raises(WriteError, match="No space left"),
        PredictionWriter(tmp_path / f"p{suffix}", ["a"]) as writer,
    ):
        writer.write(["x"], np.ones((1, 1)))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_table_has_the_permissions_of_any_new_file(tmp_path):
    with PredictionWriter(tmp_path / "p.parquet", ["a"]):
        pass
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("p.parquet", "other")}
    assert len(modes) == 1


def test_paths_in_other_spellings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for save_loc in ("p.csv", "./new folder/ñ.csv", "~/p.csv", tmp_path / "a" / "b" / "p.csv"):
        with PredictionWriter(save_loc, ["a"]) as writer:
            writer.write(["x"], np.ones((1, 1)))
        assert read_predictions(save_loc)["id_str"].tolist() == ["x"]
    assert (tmp_path / "home" / "p.csv").is_file()


@pytest.mark.parametrize("name", ["p.txt", "p", "p.csv.gz", "p.fit", ".csv", "parquet"])
def test_unknown_suffixes_list_the_known_ones_before_work(tmp_path, name):
    for function in (check_save_loc, read_predictions, lambda path: PredictionWriter(path, ["a"])):
        with pytest.raises(
            PredictionsError, match=r"must end in one of \.parquet, .*\.fits, \.vot, \.votable, \.xml, got"
        ) as info:
            function(tmp_path / name)
        assert repr(str(tmp_path / name)) in str(info.value)
    assert os.listdir(tmp_path) == []


def test_save_locs_that_cannot_be_written_are_refused_before_work(tmp_path, monkeypatch):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(PredictionsError, match=r"must be a file, but .*folder\.csv' is a folder"):
        check_save_loc(tmp_path / "folder.csv")
    for save_loc in (tmp_path / "file" / "p.csv", tmp_path / "file" / "deeper" / "p.csv"):
        with pytest.raises(PredictionsError, match=r"can't write predictions into the folder .*file.*: "):
            check_save_loc(save_loc)
    denied = PermissionError(13, "Denied")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: (_ for _ in ()).throw(denied))
    with pytest.raises(PredictionsError, match=r"can't write predictions into the folder .*: Denied"):
        check_save_loc(tmp_path / "p.csv")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who may not write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PredictionsError, match=r"Permission denied"):
        check_save_loc(tmp_path / "p.csv")


def test_check_save_loc_makes_the_folder_and_leaves_it_empty(tmp_path):
    assert check_save_loc(str(tmp_path / "a" / "b" / "p.csv")) == tmp_path / "a" / "b" / "p.csv"
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_missing_package_is_told_before_work(tmp_path):
    code = (
        "import sys; sys.modules['astropy'] = None\n"
        "from zoobot.shared.tables.writer import check_save_loc\n"
        f"check_save_loc({str(tmp_path / 'p.fits')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert MissingPackageError.__name__ in done.stderr
    assert "pip install zoobot[fits]" in done.stderr


@pytest.mark.parametrize("columns", [[], ["a", "a"], ["id_str"], ["a", "sample"], ["a", ""]])
def test_columns_that_cannot_be_told_apart_are_refused(tmp_path, columns):
    with pytest.raises(
        PredictionsError, match=r"must be different names other than \['id_str', 'sample'\], got"
    ):
        PredictionWriter(tmp_path / "p.csv", columns)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (3, 2), (2, 2, 1), (0, 2)])
def test_values_of_another_shape_are_refused(tmp_path, shape):
    with (
        pytest.raises(PredictionsError, match=r"\(galaxies, columns\) = \(2, 2\), got"),
        PredictionWriter(tmp_path / "p.csv", ["a", "b"]) as writer,
    ):
        writer.write(["x", "y"], np.zeros(shape))


@pytest.mark.parametrize(
    ("samples", "sample", "words"),
    [
        (False, 1, r"made without samples=True, got sample=1"),
        (True, None, r"needs a sample number, got sample=None"),
        (True, 0.5, r"must be a whole number, or one for each of 2 galaxies, got 0\.5"),
        (True, np.array([1, 2, 3]), r"one for each of 2 galaxies"),
    ],
)
def test_samples_must_be_as_announced(tmp_path, samples, sample, words):
    with (
        pytest.raises(PredictionsError, match=words),
        PredictionWriter(tmp_path / "p.csv", ["a"], samples=samples) as writer,
    ):
        writer.write(["x", "y"], np.zeros((2, 1)), sample=sample)


def test_writing_outside_the_with_block_is_refused(tmp_path):
    writer = PredictionWriter(tmp_path / "p.csv", ["a"])
    with pytest.raises(PredictionsError, match=r"not open: use it as `with"):
        writer.write(["x"], np.zeros((1, 1)))
    with writer:
        pass
    with pytest.raises(PredictionsError, match=r"not open"):
        writer.write(["x"], np.zeros((1, 1)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_no_prediction_tables_are_refused(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    with pytest.raises(PredictionsError, match=r"no prediction table at"):
        read_predictions(path)
    for content in (b"", b"name,a\nx,1\n", b"\x00\xff\xfe junk", b"id_str,a\nx,not a number\n"):
        path.write_bytes(content)
        with pytest.raises(PredictionsError, match=r"is no prediction table of ours: \w+"):
            read_predictions(path)


def test_tables_of_others_are_refused(tmp_path):
    import h5py

    pd.DataFrame({"name": ["x"]}).to_parquet(tmp_path / "p.parquet")
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["predictions"] = np.zeros((1, 1))
    for name in ("p.parquet", "p.h5"):
        with pytest.raises(PredictionsError, match=r"is no prediction table of ours"):
            read_predictions(tmp_path / name)


def test_predictions_are_read_when_first_looked_at(tmp_path):
    path = tmp_path / "p.parquet"
    predictions = Predictions(save_loc=path)
    assert list(predictions.failures.columns) == ["id_str", "file_loc", "reason"]
    assert str(path) in repr(predictions)
    with PredictionWriter(path, ["a"]) as writer:
        writer.write(["x"], np.ones((1, 1)))
    assert predictions.table["id_str"].tolist() == ["x"]
    assert predictions.table is predictions.table


def test_predictions_in_memory_need_no_file():
    table = pd.DataFrame({"id_str": ["x"], "a": [1.0]})
    failures = pd.DataFrame({"id_str": ["y"], "file_loc": ["y.jpg"], "reason": ["truncated"]})
    predictions = Predictions(table=table, failures=failures, save_loc=None)
    assert predictions.table is table
    assert repr(predictions) == "Predictions(1 rows in memory, 1 failures)"
    with pytest.raises(PredictionsError, match=r"need a table, or the save_loc"):
        Predictions()


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX systems")
@pytest.mark.parametrize("ending", ["parquet", "csv", "hdf5", "fits"])
def test_a_disk_that_fills_up_leaves_the_older_table_and_nothing_half_written(tmp_path, ending):
    script = f"""
import resource, signal, numpy as np
from zoobot.shared.errors import WriteError
from zoobot.shared.tables.writer import PredictionWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    with PredictionWriter("table.{ending}", ["a", "b"]) as writer:
        for batch in range(30):
            ids = [f"g{{batch}}-{{k}}" for k in range(1000)]
            writer.write(ids, np.random.default_rng(batch).normal(size=(1000, 2)))
except WriteError as error:
    print(error)
"""
    (tmp_path / f"table.{ending}").write_text("older")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "can't write" in done.stdout, done
    assert done.returncode == 0, done
    assert [path.name for path in tmp_path.iterdir()] == [f"table.{ending}"]
    assert (tmp_path / f"table.{ending}").read_text() == "older"
