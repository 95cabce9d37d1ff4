"""Catalogs a part at a time: the same galaxies from every format, exact ids, hostile tables refused."""

import gzip
from itertools import chain

import numpy as np
import pandas as pd
import pytest

from zoobot.shared import defaults
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs import columns as galaxy_ids
from zoobot.shared.catalogs.columns import IdHashes, hash_ids, kind_of
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.files.table_checks import TOLD

IDS = ["587739505552785605", "007", "NGC 1300", "é 星系 🌌", 'a,"b"', "1e5", "a b", "-", "+5", "x" * 300]
N = 23


@pytest.fixture
def table():
    ids = [*IDS, *(f"galaxy-{i}" for i in range(N - len(IDS)))]
    split = ["test" if i % 3 == 0 else "train" for i in range(N)]
    return pd.DataFrame({"split": split, "id_str": ids, "file_loc": [f"im ages/{i}.jpg" for i in range(N)]})


@pytest.fixture(params=[1, 4, 7, 100], autouse=True)
def rows_at_once(request, monkeypatch):
    """Parts must not depend on how many rows are read at once."""
    monkeypatch.setattr(defaults, "ROWS_AT_ONCE", request.param)
    return request.param


def write(table, form, folder):
    path = folder / f"catalog.{form}"
    if form in ("csv", "csv.gz"):
        table.to_csv(path, index=False)
    elif form == "parquet":
        table.to_parquet(path, row_group_size=5)
    elif form == "folder":
        path.mkdir()
        (path / "_failures").mkdir()
        for name, piece in (("b", table[11:]), ("a", table[:11]), ("_failures/c", table), (".d", table)):
            piece.to_parquet(path / f"{name}.parquet", row_group_size=3)
    else:
        astropy = pytest.importorskip("astropy.table")
        encoded = {c: np.array([t.encode() for t in table[c]]) for c in table}
        astropy.Table(encoded).write(path, format="votable" if form == "vot" else "fits")
    return path


FORMS = ["csv", "csv.gz", "parquet", "folder", "fits", "fits.gz"]


def ids_of(stream, part_rows, **which):
    return {part.number: part.galaxies.ids for part in stream.parts(part_rows, **which)}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_galaxies(table, form, tmp_path):
    path = write(table, form, tmp_path)
    stream = CatalogStream(path)
    parts = list(stream.parts(5))
    assert [part.number for part in parts] == [0, 1, 2, 3, 4]
    assert [text for part in parts for text in part.galaxies.ids] == table["id_str"].tolist()
    base = path if form == "folder" else tmp_path
    paths = [place for part in parts for place in part.galaxies.paths]
    assert paths == [str(base / place) for place in table["file_loc"]]
    same = CatalogStream(table, root=base)
    assert stream.facts == same.facts
    assert stream.facts.galaxies == N


@pytest.mark.parametrize("form", FORMS)
def test_only_some_parts(table, form, tmp_path):
    stream = CatalogStream(write(table, form, tmp_path))
    every = ids_of(stream, 4)
    assert ids_of(stream, 4, wanted=lambda number: number % 3 == 1) == {1: every[1], 4: every[4]}
    assert ids_of(stream, 4, wanted=lambda number: False) == {}


@pytest.mark.parametrize("form", FORMS)
def test_selected_rows_are_counted_after_the_selection(table, form, tmp_path):
    stream = CatalogStream(write(table, form, tmp_path), select="split=test")
    assert stream.facts.galaxies == 8
    assert ids_of(stream, 3, wanted=lambda number: number == 1) == {1: table["id_str"][9:18:3].tolist()}


def test_a_selection_by_number_does_not_depend_on_its_spelling(tmp_path):
    pd.DataFrame({"id_str": list("abcd"), "file_loc": list("abcd"), "n": [1, 2, None, 1]}).to_csv(
        tmp_path / "c.csv", index=False
    )
    for value in ("1", "1.0"):
        assert CatalogStream(tmp_path / "c.csv", select=f"n={value}").facts.galaxies == 2
    with pytest.raises(
        CatalogError, match=r"--select n=7: no galaxy has it; the column holds \['1.0', '2.0'"
    ):
        _ = CatalogStream(tmp_path / "c.csv", select="n=7").facts
    with pytest.raises(ConfigError, match="COLUMN=VALUE"):
        CatalogStream(tmp_path / "c.csv", select="n")
    with pytest.raises(CatalogError, match="lacks 'm'"):
        CatalogStream(tmp_path / "c.csv", select="m=1")


@pytest.mark.parametrize("form", ["csv", "parquet", "fits"])
def test_64_bit_ids_stay_exact_and_an_empty_one_is_refused(form, tmp_path):
    numbers = [587739505552785605 + i for i in range(9)]
    table = pd.DataFrame({"id_str": numbers, "file_loc": [f"{n}.jpg" for n in numbers]})
    stream = CatalogStream(write_typed(table, form, tmp_path))
    assert list(chain(*ids_of(stream, 4).values())) == [str(n) for n in numbers]
    table["id_str"] = table["id_str"].astype("Int64")
    table.loc[7, "id_str"] = pd.NA
    stream = CatalogStream(write_typed(table, form, tmp_path))
    with pytest.raises(CatalogError, match=r"have none in column 'id_str'; the first rows .*: \[7\]"):
        _ = stream.facts


def write_typed(table, form, folder):
    if form != "fits":
        return write(table, form, folder)
    astropy = pytest.importorskip("astropy.table")
    path = folder / "catalog.fits"
    made = astropy.Table.from_pandas(table)
    made.write(path, format="fits", overwrite=True)
    return path


def test_windows_line_ends_a_byte_order_mark_and_line_breaks_in_cells(tmp_path):
    text = '\ufeffid_str,note,file_loc\r\n007,"two\r\nlines",a b.jpg\r\n\r\n"8,""9",x,ü.jpg\r\n10,,c.jpg'
    (tmp_path / "c.csv").write_bytes(text.encode())
    (part,) = CatalogStream(tmp_path / "c.csv").parts(10)
    assert part.galaxies.ids == ["007", '8,"9', "10"]
    assert part.galaxies.paths == [str(tmp_path / name) for name in ("a b.jpg", "ü.jpg", "c.jpg")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id_str,file_loc\n", "has no rows"),
        ("id_str,id_str\na,b\n", "repeats"),
        ("id_str,path\na,b\n", "lacks 'file_loc'"),
        ("id_str,file_loc\na,b.jpg\n,c.jpg\n", r"rows .*: \[1\]"),
        ("id_str,file_loc\na,b.jpg\nNone,c.jpg\n", r"rows .*: \[1\]"),
        ("id_str,file_loc\na\nb,c.jpg\n", r"no path .*\['a'\]"),
        ("id_str,file_loc\na,b,c.jpg\n", "line 2 has 3 cells, but there are 2 columns"),
        ('id_str,file_loc\na,"b.jpg\nc,d.jpg\n', "can't read the table"),
        ("id_str,file_loc\n5.87739505552785605E+17,b.jpg\n", "floating-point number"),
        ("id_str,file_loc\na,\udcff\n", "can't read the table"),
    ],
)
def test_hostile_tables_are_refused(text, message, tmp_path):
    (tmp_path / "c.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CatalogError, match=message):
        _ = CatalogStream(tmp_path / "c.csv").facts


def test_damaged_files_are_refused(table, tmp_path):
    for form in ("parquet", "csv.gz", "fits"):
        path = write(table, form, tmp_path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CatalogError, match="can't read"):
            _ = CatalogStream(path).facts
    with pytest.raises(CatalogError, match="does not exist"):
        CatalogStream(tmp_path / "absent.csv")
    with pytest.raises(CatalogError, match="must end in one of"):
        CatalogStream(tmp_path / "absent.xlsx")


def test_ids_repeated_far_apart_are_named(table, tmp_path):
    table.loc[22, "id_str"] = table["id_str"][0]
    with pytest.raises(CatalogError, match=rf"the first: \['{IDS[0]}'\]"):
        _ = CatalogStream(write(table, "csv", tmp_path)).facts


def test_equal_hashes_of_different_ids_are_no_repetition(monkeypatch):
    monkeypatch.setattr(galaxy_ids, "hash_ids", lambda ids: np.zeros(len(ids), np.uint64))
    hashes = IdHashes()
    hashes.add(["a", "b"])
    hashes.add(["c"])
    assert hashes.repeated(lambda: [["a", "b"], ["c"]]) == []
    assert hashes.repeated(lambda: [["a", "b"], ["a"]]) == ["a"]


def test_many_repeated_ids_are_found_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(galaxy_ids, "_LOOKED_AT", 3)
    hashes = IdHashes()
    ids = [str(i) for i in range(100)] * 2
    hashes.add(ids)
    assert 1 <= len(hashes.repeated(lambda: [ids])) <= 3
    assert hash_ids(["a"])[0] == hash_ids(["b", "a"])[1]


def test_a_catalog_that_changes_meanwhile_is_refused(table, tmp_path):
    path = write(table, "csv", tmp_path)
    stream = CatalogStream(path)
    assert stream.facts.galaxies == N
    table[:9].to_csv(path, index=False)
    with pytest.raises(CatalogError, match="changed while it was read"):
        list(stream.parts(5))
    pd.concat([table, table]).to_csv(path, index=False)
    with pytest.raises(CatalogError, match="changed while it was read"):
        list(stream.parts(5))


@pytest.mark.parametrize("kind", ["csv", "parquet", "fits"])
@pytest.mark.parametrize("part_rows", [1, 3, N, 100])
@pytest.mark.parametrize("looked_at_first", [True, False])
def test_other_galaxies_of_the_same_number_are_a_change_too(
    table, tmp_path, kind, part_rows, looked_at_first
):
    path = write(table, kind, tmp_path)
    stream = CatalogStream(path)
    if not looked_at_first:
        stream.part_rows = part_rows  # as predictions say it
    assert stream.facts.galaxies == N
    assert sum(len(part.galaxies) for part in stream.parts(part_rows)) == N
    path.unlink()
    write(table[::-1], kind, tmp_path)
    with pytest.raises(CatalogError, match="changed while it was read"):
        list(stream.parts(part_rows))
    last = (N - 1) // part_rows
    with pytest.raises(CatalogError, match="changed while it was read"):
        list(stream.parts(part_rows, wanted=lambda number: number == last))
    path.unlink()
    write(table, kind, tmp_path)
    assert sum(len(part.galaxies) for part in stream.parts(part_rows)) == N


def test_the_fingerprint_tells_order_ids_and_paths_apart(table):
    prints = {
        CatalogStream(changed, root="/r").facts.fingerprint
        for changed in (table, table[::-1], table[:-1], table.assign(file_loc=table["file_loc"] + "x"))
    }
    assert len(prints) == 4


def test_a_folder_of_images_in_the_order_of_paths(tmp_path):
    for name in (
        "b/2.png",
        "b/10.PNG",
        "a.jpg",
        "b.fits.gz",
        "ü ö.tif",
        "B/x.webp",
        "no.txt",
        "b/d.jpg/in.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".txt")
    parts = list(CatalogStream(tmp_path).parts(3))
    assert [p for part in parts for p in part.galaxies.paths] == [str(p) for p in expected]
    ids = ["B/x", "a", "b/10", "b/2", "b/d.jpg/in", "b", "ü ö"]
    assert [galaxy for part in parts for galaxy in part.galaxies.ids] == ids
    assert read_catalog(tmp_path).ids == ids
    (tmp_path / "x.parquet").touch()
    with pytest.raises(CatalogError, match="holds images and Parquet files"):
        CatalogStream(tmp_path)


def test_names_of_files_that_are_not_unicode_are_refused(tmp_path):
    try:
        (tmp_path / "a\udcff.png").touch()
    except OSError:
        pytest.skip("this file system has Unicode names only")
    with pytest.raises(CatalogError, match=r"has 'a\\udcff': rename"):
        _ = CatalogStream(tmp_path).facts


def test_a_catalog_in_memory(table):
    galaxies = read_catalog(table, root="/r", check_files=False)
    stream = CatalogStream(galaxies)
    assert list(chain(*ids_of(stream, 6).values())) == galaxies.ids
    assert stream.facts == CatalogStream(table, root="/r").facts


def test_only_the_needed_columns_of_very_many_are_read(tmp_path, rows_at_once):
    if rows_at_once != 100:
        pytest.skip("once is enough")
    names = [f"c{i}" for i in range(100_000)]
    with gzip.open(tmp_path / "wide.csv.gz", "wt", compresslevel=1) as file:
        file.write(",".join([*names, "id_str", "file_loc"]) + "\n")
        for i in range(5):
            file.write("1," * 100_000 + f"{i},{i}.jpg\n")
    (part,) = CatalogStream(tmp_path / "wide.csv.gz").parts(10)
    assert part.galaxies.ids == list("01234")


CARRIED = {
    "ra": ([150.123456789012, 10.0, -1e-5, 359.9], "float64"),
    "objid": ([2**53 + 1, 2, 3, -4], "int64"),
    "code": (["007", "", "é", "x"], "str"),
    "good": ([True, False, True, True], "bool"),
    "mixed": (["1", "2", "three", ""], "str"),
    "z": ([0.5, np.nan, 1.25, 2.0], "float64"),
}


@pytest.mark.parametrize(
    ("suffix", "select"),
    [(".csv", None), (".csv", "good=True"), (".parquet", None), (".fits", "good=True"), (".vot", None)],
)
def test_carried_columns_keep_types_and_digits_in_any_part(tmp_path, suffix, select):
    table = pd.DataFrame({"id_str": list("abcd"), "file_loc": [f"{one}.jpg" for one in "abcd"]})
    for name, (values, _) in CARRIED.items():
        table[name] = values
    path = tmp_path / f"survey{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        tables, fits = pytest.importorskip("astropy.table"), pytest.importorskip("astropy.io.fits")
        made = tables.Table.from_pandas(table.assign(code=["007", "", "e", "x"]))
        made["ra"].unit, made["ra"].description = "deg", "Right ascension"
        made["ra"].meta["ucd"] = "pos.eq.ra"
        if suffix == ".vot":
            made.write(path, format="votable")
        else:
            made["ra"].meta.clear()
            made.write(path)
            with fits.open(path, mode="update") as hdus:
                hdus[1].header["TUCD3"], hdus[1].header["TCOMM3"] = "pos.eq.ra", "Right ascension"
    stream = CatalogStream(path, select=select)
    assert stream.carry(list(CARRIED)) == {name: kind for name, (_, kind) in CARRIED.items()}
    rows = [0, 2, 3] if select else range(4)
    found = pd.concat([part.galaxies.table for part in stream.parts(3)], ignore_index=True)
    for name, (values, kind) in CARRIED.items():
        if name == "code" and suffix in (".fits", ".vot"):
            continue
        expected = [values[row] for row in rows]
        exact = np.array(expected, object if kind == "str" else kind)
        np.testing.assert_array_equal(found[name].to_numpy(), exact)
    if suffix in (".fits", ".vot"):
        told = {"unit": "deg", "ucd": "pos.eq.ra", "description": "Right ascension"}
        assert stream.told["ra"] == read_table(path).attrs[TOLD]["ra"] == told
    with pytest.raises(CatalogError, match="did you mean 'ra'"):
        stream.carry(["RA"])


def test_carried_integers_keep_their_digits_beside_empty_cells_wherever_these_are(tmp_path, monkeypatch):
    objid = ["1237648720693755918", "1237648720693755919", "", ""]
    table = pd.DataFrame({"id_str": list("abcd"), "file_loc": "a.jpg", "objid": objid})
    table.to_csv(tmp_path / "t.csv", index=False)
    whole = pd.array([int(one) if one else None for one in objid], dtype="Int64")
    table.assign(objid=whole).to_parquet(tmp_path / "t.parquet", row_group_size=2)
    monkeypatch.setattr("zoobot.shared.defaults.ROWS_AT_ONCE", 2)  # so that no piece has some of both
    for name in ("t.csv", "t.parquet"):
        assert kind_of(read_table(tmp_path / name)["objid"]) == "str"
        stream = CatalogStream(tmp_path / name)
        assert stream.carry(["objid"]) == {"objid": "str"}
        assert [one for p in stream.parts(3) for one in p.galaxies.table["objid"]] == objid
    table.assign(objid=["1", "2", "", ""]).to_csv(tmp_path / "small.csv", index=False)
    assert CatalogStream(tmp_path / "small.csv").carry(["objid"]) == {"objid": "float64"}
