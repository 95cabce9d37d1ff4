"""Catalogs from strangers: exact ids, paths and labels, or an error of ours."""

from __future__ import annotations

import bz2
import csv
import decimal
import gzip
import io
import math
import os
import random
from functools import cache

import numpy as np
import pandas as pd
import pytest
from fuzz_inputs import attempt, extreme_numbers, fresh_folder, fuzz, hostile_text, mutated, refused, write
from hypothesis import strategies as st

from zoobot.shared import schemas
from zoobot.shared.catalog import Catalog, encode_labels, join_catalogs, read_catalog, split_catalog
from zoobot.shared.catalogs.delimited import DELIMITED_SUFFIXES
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.catalogs.tables import TABLE_SUFFIXES, read_table
from zoobot.shared.errors import CatalogError
from zoobot.shared.files.spreadsheets import unguarded, write_csv

pytest.importorskip("astropy")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")


@st.composite
def csv_tables(draw):
    """The header and the rows of a CSV, as lists of text."""
    others = draw(st.lists(hostile_text, max_size=3))
    header = draw(st.permutations(["id_str", "file_loc", "ring", *others]))
    long_ids = st.integers(10**16, 2**63 + 5).map(str)
    ids = draw(st.lists(st.one_of(long_ids, hostile_text), min_size=1, max_size=5))
    rows = []
    for galaxy in ids:
        label = repr(draw(extreme_numbers)) if draw(st.booleans()) else draw(hostile_text)
        cells = {"id_str": galaxy, "file_loc": draw(hostile_text), "ring": label}
        rows.append([cells.get(name) if name in cells else draw(hostile_text) for name in header])
    return header, rows


@fuzz(
    80,
    table=csv_tables(),
    bom=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_csv_gives_every_id_path_and_label_back(table, bom, line_end, quoting):
    header, rows = table
    path = write("galaxies.csv", b"\xef\xbb\xbf" * bom + _as_csv(table, line_end, quoting))
    catalog = attempt(read_catalog, path, label_cols=["ring"], check_files=False)
    if refused(catalog):
        return
    cell = {name: [row[header.index(name)] for row in rows] for name in ("id_str", "file_loc", "ring")}
    cell = {name: [unguarded(text) for text in texts] for name, texts in cell.items()}
    assert catalog.ids == cell["id_str"]
    assert catalog.paths == [os.path.join(path.parent, text) for text in cell["file_loc"]]
    for label, text in zip(catalog.labels[:, 0], cell["ring"], strict=True):
        _check_label(label, text)


@fuzz(80, table=csv_tables(), line_end=st.sampled_from(["\n", "\r\n"]), part_rows=st.integers(1, 3))
def test_a_stream_of_parts_agrees_with_the_whole_catalog(table, line_end, part_rows):
    path = write("galaxies.csv", _as_csv(table, line_end))
    whole = attempt(read_catalog, path, check_files=False)
    streamed = attempt(stream_rows, path, part_rows)
    if not refused(whole) and not refused(streamed):
        assert streamed == (whole.ids, whole.paths)


@fuzz(
    80,
    table=csv_tables(),
    delimiter=st.sampled_from(",;\t|"),
    comments=st.lists(hostile_text.filter(lambda text: not set("\r\n") & set(text)), max_size=3),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    suffix=st.sampled_from(DELIMITED_SUFFIXES),
)
def test_a_table_of_any_dialect_is_read_alike_by_both_readers_or_refused(
    table, delimiter, comments, encoding, suffix
):
    text = _as_csv(table, "\n", delimiter=delimiter).decode("utf-8", "replace")
    said = "".join(f"# {comment}\n" for comment in comments)
    content = PACKERS.get(os.path.splitext(suffix)[1], bytes)(f"{said}{text}".encode(encoding, "replace"))
    path = write(f"t{suffix}", content)
    whole = attempt(read_catalog, path, check_files=False)
    streamed = attempt(stream_rows, path, 2)
    assert refused(whole) == refused(streamed)
    if not refused(whole):
        assert streamed == (whole.ids, whole.paths)


def _pack_zstd(content):
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": _pack_zstd}


@fuzz(60, table=csv_tables())
def test_texts_come_back_from_a_csv_of_ours(table):
    header, rows = table
    frame = pd.DataFrame(rows, columns=header, dtype=object)
    if frame.columns.duplicated().any():
        return
    path = fresh_folder() / "t.csv"
    try:
        write_csv(frame, path)
    except UnicodeEncodeError:
        return  # halves of characters
    table = attempt(read_table, path, text_cols=header)
    if not refused(table):
        assert table.astype(object).where(table.notna(), "").to_numpy().tolist() == rows


hostile_elements = st.sampled_from(
    [
        '<STREAM href="{}">AAAA</STREAM>',
        '<x:STREAM x:HREF="{}"/>',
        '<STREAM encoding="base64">AAAAAQ==</STREAM>',
        "<TR><TD>a</TD><TD>b</TD></TR>",
        "<TR/>",
        "&a;",
        '<FIELD name="c" datatype="char" arraysize="99999999x9"/>',
        '<FIELD name="d" datatype="double" arraysize="2"/>',
    ]
)


@fuzz(
    100,
    elements=st.lists(hostile_elements, max_size=4),
    around=st.sampled_from(["TABLEDATA", "BINARY", "BINARY2", "FITS", "PARQUET", "GROUP"]),
    address=st.sampled_from(
        ["", "http://127.0.0.1:9/", "file:///etc/passwd", "ftp://127.0.0.1:9/a", "file:t"]
    ),
    rows=st.sampled_from(["", "1", "-1", "999999999999999"]),
)
@pytest.mark.filterwarnings("ignore")
def test_a_votable_of_odd_parts_is_read_or_refused_and_fetches_nothing(elements, around, address, rows):
    fields = "".join(
        f'<FIELD name="{name}" datatype="char" arraysize="*"/>' for name in ("id_str", "file_loc")
    )
    inside = "".join(elements).replace("{}", address)
    data = f"<DATA><{around}>{inside}</{around}></DATA>"
    content = f'<VOTABLE version="1.3" xmlns:x="x"><RESOURCE><TABLE nrows="{rows}">{fields}{data}</TABLE>'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib.request.urlopen", _never)
        outcome = attempt(read_table, write("t.vot", f"{content}</RESOURCE></VOTABLE>".encode()))
    assert refused(outcome) or isinstance(outcome, pd.DataFrame)
    assert refused(outcome) or "ref=" not in inside.lower()


def _never(*words):
    pytest.fail(f"asked for {words}")


def _as_csv(table, line_end, quoting=csv.QUOTE_MINIMAL, delimiter=","):
    header, rows = table
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end, quoting=quoting, delimiter=delimiter).writerows([header, *rows])
    return text.getvalue().encode("utf-8", "surrogatepass")


def stream_rows(path, part_rows):
    stream = CatalogStream(path)
    parts = [part.galaxies for part in stream.parts(part_rows)]
    assert stream.facts.galaxies == sum(map(len, parts))
    return [i for part in parts for i in part.ids], [p for part in parts for p in part.paths]


def _check_label(label, text):
    if math.isnan(label):
        assert text.strip().lower() in {"", "nan", "na", "null", "none", "n/a", "<na>", "-nan"}
    elif text.strip().lower() in ("true", "false"):
        assert label == (text.strip().lower() == "true")
    else:
        assert label == pytest.approx(float(text), rel=1e-15)


def _good_tables():
    from astropy.table import Table

    frame = pd.DataFrame(
        {
            "id_str": ["587739505552785605", "007", "日本"],
            "file_loc": ["a b.jpg", "/x/é.png", "c.fits"],
            "ring": [1.0, np.nan, 0.25],
            "votes": [3, 2**53 + 1, 0],
        }
    )
    folder = fresh_folder()
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "t.csv.gz", index=False)
    frame.to_csv(folder / "t.csv.bz2", index=False)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")
    (folder / "t.csv.zst").write_bytes(_pack_zstd((folder / "t.csv").read_bytes()))
    ecsv = "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:\n# - {name: id_str, datatype: string}\n"
    (folder / "t.ecsv").write_text(ecsv + (folder / "t.csv").read_text(encoding="utf-8"), encoding="utf-8")
    frame.to_parquet(folder / "t.parquet")
    plain = frame.assign(id_str=["587739505552785605", "007", "x"], file_loc=["a", "b", "c"])
    Table.from_pandas(plain).write(folder / "t.fits")
    Table.from_pandas(plain).write(folder / "t.vot", format="votable")
    Table.from_pandas(plain).write(folder / "t.xml", format="votable", tabledata_format="binary2")
    return {path.name[1:]: path.read_bytes() for path in folder.iterdir()}


@cache
def good_tables():
    return _good_tables()


damaged_tables = st.deferred(
    lambda: st.sampled_from(sorted(good_tables())).flatmap(
        lambda suffix: st.tuples(st.just(suffix), mutated([good_tables()[suffix]]))
    )
)


@fuzz(150, table=damaged_tables)
def test_a_damaged_table_is_read_or_refused(table):
    suffix, content = table
    outcome = attempt(read_catalog, write(f"t{suffix}", content), label_cols=["ring"], check_files=False)
    assert refused(outcome) or len(set(outcome.ids)) == len(outcome.ids) == len(outcome.labels)


@fuzz(100, table=damaged_tables)
def test_a_damaged_table_is_streamed_as_it_is_read_or_refused(table):
    suffix, content = table
    path = write(f"t{suffix}", content)
    whole = attempt(read_catalog, path, check_files=False)
    streamed = attempt(stream_rows, path, 2)
    if not refused(whole) and not refused(streamed):
        assert streamed == (whole.ids, whole.paths)


@fuzz(60, suffix=st.sampled_from(TABLE_SUFFIXES), content=st.binary(max_size=300))
def test_random_bytes_are_no_table(suffix, content):
    outcome = attempt(read_table, write(f"t{suffix}", content))
    assert refused(outcome) or isinstance(outcome, pd.DataFrame)


ids_of_any_kind = st.one_of(
    st.integers(-5, 2**80),
    st.text(max_size=20),
    st.floats(),
    st.none(),
    st.booleans(),
    st.binary(max_size=8),
    st.sampled_from([pd.NA, pd.NaT, np.int64(2**62 + 1), np.uint64(2**64 - 1), decimal.Decimal("1.5")]),
    st.just([1, 2]),
    st.just(np.array([1, 2])),
    st.just(pd.Timestamp("2020-01-01")),
)


@fuzz(100, values=st.lists(ids_of_any_kind, min_size=1, max_size=4), paths=ids_of_any_kind)
def test_ids_of_a_frame_are_exact_or_refused(values, paths):
    table = pd.DataFrame({"id_str": pd.Series(values, dtype=object)})
    table["file_loc"] = pd.Series([paths] * len(table), dtype=object)
    catalog = attempt(read_catalog, table, check_files=False)
    if not refused(catalog):
        assert catalog.ids == [v.decode() if isinstance(v, bytes) else str(v) for v in values]


labels_of_any_kind = st.one_of(
    hostile_text, st.integers(-(10**30), 10**30), st.floats(), st.none(), st.booleans(), st.just(pd.NA)
)


@fuzz(100, values=st.lists(labels_of_any_kind, min_size=1, max_size=6), seed=st.integers(0, 99))
def test_classes_keep_their_names_and_one_order(values, seed):
    outcome = attempt(encode_labels, pd.DataFrame({"kind": pd.Series(values, dtype=object)}), "kind")
    if refused(outcome):
        return
    codes, names = outcome
    expected = [str(int(v)) if isinstance(v, float) else str(v) for v in values]
    assert [names[code] for code in codes] == expected
    assert len(set(names)) == len(names) == len(set(expected))
    shuffled = list(values)
    random.Random(seed).shuffle(shuffled)
    assert encode_labels(pd.DataFrame({"kind": pd.Series(shuffled, dtype=object)}), "kind")[1] == names


@fuzz(
    80,
    labels=st.lists(labels_of_any_kind, min_size=1, max_size=12),
    method=st.sampled_from(["random", "stratified", "group", "column", "sky"]),
    val_fraction=extreme_numbers,
    test_fraction=extreme_numbers,
    seed=st.integers(-(2**70), 2**70),
)
@pytest.mark.filterwarnings("ignore:classes with one galaxy")
def test_a_split_loses_and_doubles_nobody(labels, method, val_fraction, test_fraction, seed):
    frame = pd.DataFrame({"id_str": [str(i) for i in range(len(labels))], "file_loc": "a.jpg"})
    frame["kind"] = pd.Series(labels, dtype=object)
    catalog = read_catalog(frame, check_files=False)
    options = {"method": method, "column": "kind", "seed": seed, "ra_col": "kind", "dec_col": "kind"}
    if 0 < val_fraction < 1:
        options["test_fraction"] = test_fraction
    parts = attempt(split_catalog, catalog, val_fraction=val_fraction, **options)
    if not refused(parts):
        assert sorted(galaxy for part in parts.values() for galaxy in part.ids) == sorted(catalog.ids)
        assert all(len(part) for part in parts.values())


@fuzz(
    40,
    ids=st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), min_size=1, max_size=3),
    drop=st.sampled_from([None, *schemas.get("gz_rings").label_cols]),
    votes=labels_of_any_kind,
)
def test_joined_catalogs_keep_every_galaxy(ids, drop, votes):
    schema = schemas.get("gz_rings")
    sources = []
    for some in ids:
        frame = pd.DataFrame({"id_str": some, "file_loc": "a.jpg"})
        for column in schema.label_cols:
            frame[column] = pd.Series([votes] * len(frame), dtype=object)
        sources.append(frame.drop(columns=[drop] if drop else []))
    sources = [attempt(read_catalog, source, check_files=False) for source in sources]
    if any(map(refused, sources)):
        return
    joined = attempt(join_catalogs, sources, schema)
    if not refused(joined):
        assert joined.ids == [galaxy for some in ids for galaxy in some]
        assert joined.labels.shape == (len(joined.ids), len(schema.label_cols))


def test_ten_thousand_columns_and_a_huge_cell_are_read():
    columns = [f"c{i}" for i in range(10_000)]
    path = fresh_folder() / "wide.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id_str", "file_loc", *columns])
        writer.writerow(["1", "a.jpg", "x" * 200_000, *columns[1:]])
    catalog = read_catalog(path, check_files=False)
    assert isinstance(catalog, Catalog)
    assert len(catalog.table.loc[0, "c0"]) == 200_000
    with pytest.raises(CatalogError, match="lacks 'ring'"):
        read_catalog(path, label_cols=["ring"], check_files=False)
