"""Tables as people have them, and as nobody should: read alike by both readers, or refused."""

import bz2
import csv
import gzip
import http.server
import json
import logging
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoobot.rating.folder import RatingLog
from zoobot.shared.catalog import encode_labels, read_catalog
from zoobot.shared.catalogs import delimited
from zoobot.shared.catalogs.cutouts import Cutouts
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, CheckpointError, PredictionsError
from zoobot.shared.features.tables import read_features
from zoobot.shared.files.spreadsheets import csv_text, write_csv
from zoobot.shared.onnx.model import OnnxModel, names_other_files
from zoobot.shared.predictions import read_predictions
from zoobot.shared.tables.writer import PredictionWriter

IDS = ["587739505552785605", "J000411.19+020924.0"]
PLAIN = (
    "id_str,file_loc,ring,kind\n587739505552785605,a.jpg,1,edge-on\nJ000411.19+020924.0,b c.jpg,0.5,None\n"
)

VIZIER = """\
#
#   VizieR Astronomical Server vizier.cds.unistra.fr
#    Date: 2024-03-21T10:10:10 [V7.33.3]
#   In case of problem, please report to:\tcds-question@unistra.fr
#
#Coosys\tJ2000:\teq_FK5 J2000
#INFO\tvotable-version=1.99-v3 (14-Oct-2013)\t
#INFO\t-out.max=50\t
#RESOURCE=yCat_22460
#Name: J/MNRAS/435/2835
#Title: Galaxy Zoo 2 (Willett+, 2013)
#Table\tJ_MNRAS_435_2835:
#Name: J/MNRAS/435/2835/table5
#Column\tid_str\t(A20)\tName\t[ucd=meta.id]
#Column\tfile_loc\t(A8)\tCutout\t[ucd=meta.file]
id_str\tfile_loc\tring\tkind
 \t \t \t
--------------------\t--------\t-----\t--------
587739505552785605  \ta.jpg   \t1.000\tedge-on
J000411.19+020924.0 \tb c.jpg \t0.500\tNone

#END#
"""

TOPCAT_ASCII = """\
# id_str              file_loc  ring  kind
  587739505552785605  a.jpg     1.0   edge-on
  J000411.19+020924.0 "b c.jpg" 0.5   None
"""

ECSV = """\
# %ECSV 1.0
# ---
# datatype:
# - {name: id_str, datatype: string}
# - {name: file_loc, datatype: string, description: 'cutout'}
# - {name: ring, unit: deg, datatype: float64}
# - {name: kind, datatype: string}
# - {name: profile, datatype: string, subtype: 'float64[2]'}
# meta: !!omap
# - __serialized_columns__:
#     pos: {__class__: os.system}
# - {evil: !!python/object/apply:os.system ["touch /tmp/pwned"]}
# schema: astropy-2.0
id_str file_loc ring kind profile
587739505552785605 a.jpg 1.0 edge-on [1.0,2.0]
J000411.19+020924.0 "b c.jpg" 0.5 None [1.0,2.0]
"""


def zstd(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def both(path, root=None, **options):
    """The catalog of a table, once it is seen that both readers give it."""
    catalog = read_catalog(path, root=root, check_files=False, **options)
    (part,) = CatalogStream(path, root=root).parts(100)
    assert (part.galaxies.ids, part.galaxies.paths) == (catalog.ids, catalog.paths)
    return catalog


DIALECTS = {
    "plain.csv": PLAIN.encode(),
    "semicolons.csv": PLAIN.replace(",", ";").encode(),
    "tabs.csv": PLAIN.replace(",", "\t").encode(),
    "tabs.tsv": PLAIN.replace(",", "\t").encode(),
    "commas.tsv": PLAIN.encode(),
    "bars.txt": PLAIN.replace(",", "|").encode(),
    "tabs.txt": PLAIN.replace(",", "\t").encode(),
    "comments.csv": f"# from TOPCAT\n#, and a comma\n\n{PLAIN}".encode(),
    "doubled_mark.csv": b"\xef\xbb\xbf\xef\xbb\xbf" + PLAIN.encode(),
    "windows.csv": b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode(),
    "old_mac.csv": PLAIN.replace("\n", "\r").encode(),
    "excel_unicode.txt": PLAIN.replace(",", "\t").encode("utf-16"),
    "big_endian.csv": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "packed.csv.gz": gzip.compress(PLAIN.encode()),
    "packed.csv.bz2": bz2.compress(PLAIN.encode()),
    "packed.csv.zst": zstd(PLAIN.encode()),
    "packed.tsv.gz": gzip.compress(PLAIN.replace(",", "\t").encode()),
    "vizier.tsv": VIZIER.encode(),
    "vizier.txt": VIZIER.encode(),
    "topcat.txt": TOPCAT_ASCII.encode(),
    "astropy.ecsv": ECSV.encode(),
    "commented.csv": f"#{PLAIN}".encode(),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_tables_people_have_are_read_alike_by_both_readers(name, tmp_path, caplog):
    (tmp_path / name).write_bytes(DIALECTS[name])
    with caplog.at_level(logging.INFO, logger="zoobot"):
        catalog = both(tmp_path / name, label_cols=["ring"])
    assert catalog.ids == IDS
    assert catalog.paths == [str(tmp_path / "a.jpg"), str(tmp_path / "b c.jpg")]
    assert catalog.labels.tolist() == [[1.0], [0.5]]
    assert catalog.table["kind"].tolist() == ["edge-on", "None"]
    assert list(catalog.table.columns) == ["id_str", "file_loc", "ring", "kind"]
    said = [record.message for record in caplog.records if "is read as text" in record.message]
    is_plain = name in {"plain.csv", "doubled_mark.csv", "windows.csv", "old_mac.csv"} or "packed.csv" in name
    assert bool(said) != (is_plain or name == "commas.tsv"), said


def test_what_was_decided_is_said(tmp_path, caplog):
    (tmp_path / "t.tsv").write_text(VIZIER)
    with caplog.at_level(logging.INFO, logger="zoobot"):
        read_table(tmp_path / "t.tsv")
    assert "separated by tabs, with comment lines (#), with units and rules" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PLAIN.replace("edge", "é").encode("latin-1"), r"not UTF-8, for it holds the byte b'\\xe9'.*iconv"),
        (PLAIN.encode("utf-16-le"), "UTF-16 without a byte order mark; convert it to UTF-8"),
        (PLAIN.encode("utf-32"), "UTF-32; convert it to UTF-8"),
        (b"# nothing\n# but comments\n", "is empty but comments"),
        (VIZIER.replace("#END#", "#Table\tother").encode(), "another table begins"),
    ],
)
def test_text_that_can_only_be_guessed_at_is_refused_by_both(content, words, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(CatalogError, match=words):
        read_table(tmp_path / "t.csv")
    with pytest.raises(CatalogError, match=words):
        _ = CatalogStream(tmp_path / "t.csv").facts


def test_a_long_cell_is_read_and_an_endless_one_refused_by_both(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text(PLAIN.replace("edge-on", "x" * 500_000))
    assert len(both(path).table["kind"][0]) == 500_000
    path.write_text(PLAIN.replace("edge-on", "x" * 1_100_000))
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="field larger than field limit"):
            read(path)
    monkeypatch.setattr(delimited, "_MOST_IN_ROW", 5_000)
    monkeypatch.setattr(delimited, "_BLOCK", 100)
    path.write_text(PLAIN.replace("edge-on", '"' + "x\n" * 4_000 + '"'))
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="has more than 5,000 characters"):
            read(path)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["ring", "NA", "None", "nan", "", "null"], ["ring", "NA", "None", "nan", None, "null"]),
        (["1", "nan", "", "NA", "2.5", "None"], [1, np.nan, np.nan, np.nan, 2.5, np.nan]),
        ([" 1", "+2 ", "", "1e5", "-.5", "inf"], [1, 2, np.nan, 1e5, -0.5, np.inf]),
        (["1", "2", "3", "-4", "5", "6"], [1, 2, 3, -4, 5, 6]),
        (["18446744073709551615", "1", "2", "3", "4", "5"], [2**64 - 1, 1, 2, 3, 4, 5]),
        (["NA", "NA", "None", "NA", "", "NA"], ["NA", "NA", "None", "NA", None, "NA"]),
        (["", "", "", "", "", ""], [np.nan] * 6),
        (["True", "false", "TRUE", "True", "True", "True"], [True, False, True, True, True, True]),
        (["1", "2", "3", "True", "5", "6"], ["1", "2", "3", "True", "5", "6"]),
        (["1", "2", "3", "4", "5", "1_000"], ["1", "2", "3", "4", "5", "1_000"]),
        (["1e999", "5e-324", "1", "2", "3", "4"], [np.inf, 5e-324, 1, 2, 3, 4]),
    ],
)
def test_a_column_is_of_numbers_if_all_that_stands_in_it_is_one(cells, expected, tmp_path):
    rows = "".join(f"{i},a.jpg,{cell}\n" for i, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text(f"id_str,file_loc,x\n{rows}")
    column = read_table(tmp_path / "t.csv")["x"]
    assert [
        None if value is None else value for value in column.astype(object).where(column.notna(), None)
    ] == [None if value != value else value for value in expected]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_class_called_none_or_na_is_a_class(form, tmp_path):
    table = pd.DataFrame({"id_str": list("abcd"), "file_loc": "a.jpg", "kind": ["ring", "None", "NA", "nan"]})
    path = tmp_path / f"t.{form}"
    table.to_csv(path, index=False) if form == "csv" else table.to_parquet(path)
    assert encode_labels(both(path).table, "kind")[1] == ("NA", "None", "nan", "ring")


@pytest.mark.parametrize("name", ["t.fits", "masked.fits", "t.vot", "binary.vot", "t.parquet", "t.fits.gz"])
def test_bytes_become_text_once(name, tmp_path):
    table = pytest.importorskip("astropy.table")
    kinds = np.array([b"edge-on", b"s", b""])
    columns = {"id_str": np.array([b"007", b"J1", b"J2"]), "file_loc": np.array([b"a", b"b c", b"d"])}
    made = table.Table({**columns, "kind": kinds, "n": [1, 2, 3]}, masked=name.startswith("masked"))
    path = tmp_path / name
    if name.startswith("masked"):
        made["n"].mask = [False, True, False]
        made["kind"].mask = [False, False, True]
    if name.endswith(".parquet"):
        stored = {**{key: cells.tolist() for key, cells in columns.items()}, "kind": kinds.tolist()}
        pd.DataFrame({**stored, "n": [1, 2, 3]}).to_parquet(path)
    elif name.endswith(".vot"):
        extra = {"tabledata_format": "binary"} if name.startswith("binary") else {}
        made.write(path, format="votable", **extra)
    else:
        made.write(path)
    catalog = both(path, label_cols=["n"])
    assert catalog.ids == ["007", "J1", "J2"]
    assert catalog.paths[1] == str(tmp_path / "b c")
    assert catalog.table["kind"].fillna("").tolist() == ["edge-on", "s", ""]
    assert encode_labels(catalog.table[:2], "kind")[1] == ("edge-on", "s")
    second = np.nan if name.startswith("masked") else 2
    np.testing.assert_array_equal(catalog.labels[:, 0], [1, second, 3])


def test_bytes_of_a_dataframe_become_text():
    table = pd.DataFrame({"id_str": [b"a", b"b"], "file_loc": [b"a.jpg", b"b.jpg"], "kind": [b"ring", None]})
    catalog = read_catalog(table, check_files=False, root="/r")
    assert catalog.table["kind"].fillna("").tolist() == ["ring", ""]
    assert CatalogStream(table, root="/r").find_paths(["a", "b"]) == dict(
        zip("ab", catalog.paths, strict=True)
    )
    assert table["kind"].tolist() == [b"ring", None]


@pytest.mark.parametrize("form", ["fits", "parquet"])
def test_bytes_that_are_no_text_are_told_where_they_are_needed(form, tmp_path, caplog):
    path = tmp_path / f"t.{form}"
    columns = {"id_str": ["a", "b"], "file_loc": ["a", "b"], "kind": [b"\xe9toile", b"s"]}
    if form == "fits":
        pytest.importorskip("astropy.table").Table({k: np.array(v) for k, v in columns.items()}).write(path)
    else:
        pd.DataFrame(columns).to_parquet(path)
    catalog = read_catalog(path, check_files=False)
    assert "column 'kind'" in caplog.text
    assert "The column is left out" in caplog.text
    with pytest.raises(CatalogError, match=r"'kind' .*which is no UTF-8 text"):
        read_catalog(catalog, label_cols=["kind"])
    with pytest.raises(CatalogError, match=r"'kind' .*which is no UTF-8 text"):
        read_catalog(path, id_col="kind", check_files=False)
    with pytest.raises(CatalogError, match=r"'kind' .*which is no UTF-8 text"):
        _ = CatalogStream(path, id_col="kind").facts


@pytest.mark.parametrize("stop", [3, 10])
def test_a_named_index_of_parquet_is_a_column(stop, tmp_path):
    table = pd.DataFrame({"file_loc": list("abc"), "ring": [0, 1, 1]}, index=["x", "y", "z"])
    table.rename_axis("id_str").to_parquet(tmp_path / "t.parquet")
    assert both(tmp_path / "t.parquet", label_cols=["ring"]).ids == ["x", "y", "z"]
    table.to_parquet(tmp_path / "unnamed.parquet")
    assert list(read_table(tmp_path / "unnamed.parquet").columns) == ["file_loc", "ring"]
    numbers = pd.RangeIndex(10, 10 + 3 * stop, stop, name="id_str")
    table.set_index(numbers).to_parquet(tmp_path / "range.parquet", row_group_size=2)
    assert both(tmp_path / "range.parquet").ids == [str(number) for number in numbers]


def test_integers_beside_an_empty_cell_keep_their_digits(tmp_path):
    numbers = pd.array([587739505552785605, None, 3], dtype="Int64")
    pd.DataFrame({"id_str": list("abc"), "file_loc": "a", "parent": numbers}).to_parquet(
        tmp_path / "t.parquet"
    )
    assert read_table(tmp_path / "t.parquet")["parent"].tolist() == [587739505552785605, pd.NA, 3]


class _Silent(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    do_HEAD = do_POST = do_GET  # noqa: N815  so http.server calls them

    def log_message(self, *words):
        """Nothing on the screen."""


@pytest.fixture
def server():
    """An HTTP server on this machine that nobody may ask anything."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Silent) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        assert server.asked == []


VOTABLE = """<?xml version="1.0"?>
{doctype}<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3" xmlns:x="http://www.w3.org/1999/xlink">
<RESOURCE><TABLE{nrows}><FIELD name="id_str" datatype="char" arraysize="{arraysize}"/>
<FIELD name="file_loc" datatype="char" arraysize="*"/><DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>"""
ROWS = "<TABLEDATA><TR><TD>{}</TD><TD>a.jpg</TD></TR></TABLEDATA>"


def write_votable(path, data=None, doctype="", nrows="", arraysize="*"):
    data = ROWS.format("a") if data is None else data
    path.write_text(VOTABLE.format(data=data, doctype=doctype, nrows=nrows, arraysize=arraysize))
    return path


@pytest.mark.parametrize("serialisation", ["BINARY", "BINARY2", "FITS", "PARQUET", "x:BINARY"])
@pytest.mark.parametrize("address", ["http", "ftp", "file", "relative", "httpg", "empty", "prefixed"])
def test_a_votable_makes_us_fetch_and_open_nothing(server, serialisation, address, tmp_path):
    pytest.importorskip("astropy")
    (tmp_path / "secret").write_text("root:x:0:0")
    web = f"127.0.0.1:{server.server_port}/t"
    place = {
        "http": f"http://{web}",
        "ftp": f"ftp://{web}",
        "file": f"file://{tmp_path}/secret",
        "relative": "file:secret",
        "httpg": f"httpg://{web}",
        "empty": "",
        "prefixed": f"http://{web}",
    }[address]
    key = "x:href" if address == "prefixed" else "href"
    kind = ' type="VOTable-remote-file"' if serialisation == "PARQUET" else ""
    data = f'<{serialisation}{kind}><STREAM {key}="{place}" encoding="gzip"/></{serialisation}>'
    path = write_votable(tmp_path / "t.vot", data)
    for read in (read_table, CatalogStream):
        with pytest.raises(CatalogError, match="its data lie elsewhere") as info:
            read(path)
        assert "root:x" not in str(info.value)


BILLION = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE l [<!ENTITY l0 "ha">{BILLION}]>\n',
        '<!DOCTYPE l [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>\n',
        '<!DOCTYPE l [<!ENTITY % l9 SYSTEM "file:///etc/passwd">]>\n',
    ],
)
def test_entities_in_a_votable_are_refused(doctype, tmp_path):
    pytest.importorskip("astropy")
    with pytest.raises(CatalogError, match="declares the entity"):
        read_table(write_votable(tmp_path / "t.vot", ROWS.format("&l9;"), doctype))


def test_a_votable_that_asks_for_absurd_memory_is_refused(tmp_path):
    pytest.importorskip("astropy")
    assert both(write_votable(tmp_path / "t.vot", nrows=' nrows="1"', arraysize="20")).ids == ["a"]
    for absurd in ({"nrows": ' nrows="1000000000000"'}, {"arraysize": "4000000000"}):
        with pytest.raises(CatalogError, match="more than an honest table would"):
            read_table(write_votable(tmp_path / "t.vot", **absurd))
    (tmp_path / "t.vot").write_text("<a>" * 100_000)
    with pytest.raises(CatalogError, match="nested more than"):
        read_table(tmp_path / "t.vot")


def write_fits_bomb(path, rows, width=20, primary=0):
    """A FITS table of which only the header is there."""

    def block(*cards):
        return "".join(card.ljust(80) for card in (*cards, "END")).ljust(2880).encode()

    first = block(
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        f"NAXIS   = {primary and 1:20d}",
        *([f"NAXIS1  = {primary:20d}"] if primary else []),
        "EXTEND  =                    T",
    )
    table = block(
        "XTENSION= 'BINTABLE'",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
        f"NAXIS1  = {width:20d}",
        f"NAXIS2  = {rows:20d}",
        "PCOUNT  =                    0",
        "GCOUNT  =                    1",
        "TFIELDS =                    2",
        "TTYPE1  = 'id_str  '",
        f"TFORM1  = '{width // 2}A'",
        "TTYPE2  = 'file_loc'",
        f"TFORM2  = '{width // 2}A'",
    )
    content = first + table + b"x" * 240
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["t.fits", "t.fits.gz"])
@pytest.mark.parametrize(
    "absurd", [{"rows": 10**12}, {"rows": 10**12, "width": 0}, {"rows": 1, "primary": 10**13}]
)
def test_a_fits_header_that_promises_more_than_the_file_holds_is_refused(name, absurd, tmp_path):
    pytest.importorskip("astropy")
    path = write_fits_bomb(tmp_path / name, **absurd)
    for read in (read_table, CatalogStream):
        with pytest.raises(CatalogError, match=r"can't read the table"):
            read(path)


def write_parquet_bomb(path, value, rows):
    """A Parquet file in which one value stands once, for very many rows."""
    indices = pa.array(np.zeros(rows, np.int8))
    column = pa.DictionaryArray.from_arrays(indices, pa.array([value]))
    pq.write_table(pa.table({"id_str": column, "file_loc": column}), path, row_group_size=rows)
    return path


@pytest.mark.parametrize(
    ("value", "rows"),
    [("x" * 60_000, 1_000_000), (7, 12_000_000), ("x" * 2_000_000, 1000), (b"x" * 9999, 99_999)],
)
def test_a_small_parquet_file_that_asks_for_gigabytes_is_refused(value, rows, tmp_path):
    path = write_parquet_bomb(tmp_path / "t.parquet", value, rows)
    assert path.stat().st_size < 200_000
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="more than an honest table would"):
            read(path)


def test_a_parquet_footer_that_contradicts_itself_ends_no_process(tmp_path):
    """A column may lack values by its statistics and not by its schema: Arrow aborts where it is asked."""
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id_str": ["1", "2"], "file_loc": ["a", "b"]}).to_parquet(path)
    optional, required = b"\x15\x0c\x25\x02\x18\x06id_str", b"\x15\x0c\x25\x00\x18\x06id_str"
    content = path.read_bytes()
    assert content.count(optional) == 1
    path.write_bytes(content.replace(optional, required))
    for read in (read_table, read_catalog, lambda place: list(CatalogStream(place).parts(2))):
        with pytest.raises(CatalogError, match="can't read the table"):
            read(path)


def test_parquet_pages_that_unpack_to_gigabytes_are_refused(tmp_path):
    column = pa.array([f"{i}{'x' * 500_000}" for i in range(300)])
    path = tmp_path / "t.parquet"
    table = pa.table({"id_str": column, "file_loc": column})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="more than an honest table would"):
            read(path)


def test_parquet_pages_count_whatever_the_footer_says(tmp_path):
    """A reader unpacks what a page's own header asks for."""
    column = pa.array([f"{i}{'x' * 500_000}" for i in range(300)])
    path = tmp_path / "t.parquet"
    table = pa.table({"id_str": column, "file_loc": column})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    size = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    told, lie = thrift_number(size), thrift_number(9000, len(thrift_number(size)))
    assert told in content[footer:]
    path.write_bytes(content[:footer] + content[footer:].replace(told, lie))
    assert pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size == 9000
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="more than an honest table would"):
            read(path)


def _never(*words):
    pytest.fail(f"asked for {words}")


def thrift_number(number, width=0):
    number, out = 2 * number, []
    while number > 127 or len(out) + 1 < width:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_parquet_texts_told_by_their_differences(encoding, tmp_path):
    path = tmp_path / "t.parquet"
    options = {"use_dictionary": False, "column_encoding": dict.fromkeys(("id_str", "file_loc"), encoding)}
    names = [f"J{i}" for i in range(5000)]
    pq.write_table(pa.table({"id_str": names, "file_loc": names}), path, **options)
    assert read_table(path)["id_str"].tolist() == names
    assert CatalogStream(path).facts.galaxies == 5000
    if encoding == "DELTA_BYTE_ARRAY":
        long = [f"{'x' * 500_000}{i}" for i in range(400)]  # each is a few bytes in its page
        pq.write_table(
            pa.table({"id_str": names[:400], "file_loc": long}), path, compression="zstd", **options
        )
        for read in (read_table, lambda path: CatalogStream(path).facts):
            with pytest.raises(CatalogError, match="more than an honest table would"):
                read(path)


def test_a_table_of_very_many_columns_is_refused(tmp_path):
    names = ",".join(f"c{number}" for number in range(2**14))
    (tmp_path / "t.csv").write_text(f"id_str,file_loc,{names}\n1,a\n")
    with pytest.raises(CatalogError, match="has 16,386 columns, and at most 16,384 are read"):
        read_table(tmp_path / "t.csv")
    assert CatalogStream(tmp_path / "t.csv").facts.galaxies == 1  # looks at the columns it needs alone


@pytest.mark.parametrize("packing", ["gz", "bz2", "zst"])
def test_a_packed_table_that_unpacks_without_end_is_refused(packing, tmp_path, monkeypatch):
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": zstd}[packing]
    path = tmp_path / f"t.csv.{packing}"
    path.write_bytes(pack(b"id_str,file_loc\n" + (b"1," + b"a" * 100_000 + b"\n") * 400))
    for read in (read_table, lambda path: CatalogStream(path).facts):
        with pytest.raises(CatalogError, match="unpack it and give the unpacked file"):
            read(path)
    path.write_bytes(pack(b"id_str,file_loc\n" + b"1,a\n" * 5_000_000))
    with monkeypatch.context() as patch:
        patch.setattr(csv, "reader", _never)  # before a row is parsed
        with pytest.raises(CatalogError, match="unpack it and give the unpacked"):
            read_table(path)
    path.write_bytes(pack(PLAIN.encode() * 1000)[:-9])
    with pytest.raises(CatalogError, match="can't read the table"):
        read_table(path)


def test_an_address_is_not_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for address in ("s3://bucket/t.parquet", "hf://datasets/a/t.csv", "https://host/t.vot"):
        for read in (read_table, CatalogStream):
            with pytest.raises(CatalogError, match=r"does not exist.* nothing is fetched"):
                read(address)


FORMULAS = [
    "=1+1",
    "'=1+1",
    "''=1+1",
    "+a",
    "-cmd|x",
    "@sum",
    "\tx",
    "'",
    "'a",
    "-1.5",
    "-5",
    "J0",
    "'-5",
    "''@",
]


@pytest.mark.parametrize("cell", ["\r", "a\rb", "a\r", "\n", "\r\n", "\t"])
def test_line_ends_in_texts_come_back(cell, tmp_path):
    frame = pd.DataFrame({"id_str": ["1"], "note": [cell], "ring": [0.5]})
    write_csv(frame, tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv", text_cols=["id_str", "note"]).to_numpy().tolist() == [
        ["1", cell, 0.5]
    ]
    assert csv_text(frame).encode() == (tmp_path / "t.csv").read_bytes()
    write_csv(frame.rename(columns={"id_str": "#"}), tmp_path / "t.csv")
    assert list(read_table(tmp_path / "t.csv")) == ["#", "note", "ring"]


def test_texts_that_look_like_formulas_come_back_from_every_csv(tmp_path):
    table = pd.DataFrame({"id_str": FORMULAS, "file_loc": FORMULAS, "=x": -1.5})
    write_csv(table, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[:3] == ["id_str,file_loc,'=x", "'=1+1,'=1+1,-1.5", "''=1+1,''=1+1,-1.5"]
    assert not [line for line in lines[1:] if line[0] in "=+@\t"]
    catalog = both(tmp_path / "t.csv", root="/", label_cols=["=x"])
    assert catalog.ids == FORMULAS
    assert catalog.paths == [f"/{text}" for text in FORMULAS]
    assert catalog.labels.tolist() == [[-1.5]] * len(FORMULAS)
    assert csv_text(table) == (tmp_path / "t.csv").read_text()


def test_predictions_and_ratings_guard_ids_too(tmp_path):
    path = tmp_path / "p.csv"
    with PredictionWriter(path, ["=x", "y"]) as writer:
        writer.write(FORMULAS, np.full((len(FORMULAS), 2), -1.5, np.float32))
    assert path.read_text().splitlines()[:2] == ["id_str,'=x,y", "'=1+1,-1.5,-1.5"]
    table = read_predictions(path)
    assert table["id_str"].tolist() == FORMULAS
    assert list(table) == ["id_str", "=x", "y"]
    assert (table["y"] == -1.5).all()
    log = RatingLog(tmp_path / "ratings.csv")
    log.add(dict.fromkeys(FORMULAS, 2.0))
    assert log.read() == dict.fromkeys(FORMULAS, 2.0)
    assert ",'=1+1,2" in (tmp_path / "ratings.csv").read_text()


@pytest.mark.parametrize("form", ["semicolons", "utf-16", "doubled mark"])
def test_tables_of_features_from_others_are_read_like_catalogs(form, tmp_path):
    text = "id_str,f0\n007,1.5\nNA,2\n"
    content = {
        "semicolons": text.replace(",", ";").encode(),
        "utf-16": text.encode("utf-16"),
        "doubled mark": b"\xef\xbb\xbf" * 2 + text.encode(),
    }[form]
    (tmp_path / "f.csv").write_bytes(content)
    table = read_features(tmp_path / "f.csv")
    assert (table.ids, table.features.tolist()) == (["007", "NA"], [[1.5], [2.0]])


@pytest.mark.parametrize("kind", ["bytes", "soft", "external", "storage", "virtual", "bomb"])
def test_hdf5_tables_hold_their_own_data(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    values, ids = np.ones((2, 1), np.float32), np.array([b"J1  ", b"J2"])
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["predictions"] = values
    (tmp_path / "raw").write_bytes(values.tobytes())
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["columns"], file["id_str"] = ["f0"], ids
        if kind == "external":
            file["predictions"] = h5py.ExternalLink("other.h5", "predictions")
        elif kind == "soft":
            file["predictions"] = h5py.SoftLink("/columns")
        elif kind == "storage":
            file.create_dataset("predictions", (2, 1), "f4", external=[(str(tmp_path / "raw"), 0, 8)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((2, 1), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "predictions", (2, 1))
            file.create_virtual_dataset("predictions", layout)
        elif kind == "bomb":
            file.create_dataset("predictions", (10**12, 1), "f4", chunks=(1024, 1))
        else:
            file["predictions"] = values
    if kind == "bytes":
        assert read_predictions(tmp_path / "t.h5")["id_str"].tolist() == ["J1", "J2"]
        return
    with pytest.raises(PredictionsError, match=r"another file|than an honest table would"):
        read_predictions(tmp_path / "t.h5")


@pytest.mark.parametrize("suffix", ["parquet", "fits"])
def test_bombs_are_no_prediction_tables(suffix, tmp_path):
    path = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        write_parquet_bomb(path, "x" * 60_000, 100_000)
    else:
        pytest.importorskip("astropy")
        write_fits_bomb(path, 10**12)
    with pytest.raises(PredictionsError, match=r"than an honest table would|no prediction table of ours"):
        read_predictions(path)


def test_an_onnx_file_that_names_others_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones(64, np.float32), "w")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [weight])
    model = helper.make_model(graph)
    onnx.save(model, tmp_path / "inside.onnx")
    outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(model, tmp_path / "outside.onnx", **outside)
    assert not names_other_files(tmp_path / "inside.onnx")
    assert names_other_files(tmp_path / "outside.onnx")
    pytest.importorskip("onnxruntime")
    (tmp_path / "w.bin").unlink()
    with pytest.raises(CheckpointError, match="weights lie in other files"):
        OnnxModel(tmp_path / "outside.onnx")
    (tmp_path / "odd.onnx").write_bytes(b"\xff" * 20)
    with pytest.raises(CheckpointError, match="damaged, or no ONNX file"):
        OnnxModel(tmp_path / "odd.onnx")


def test_a_saved_dataset_that_names_other_folders_is_refused(tmp_path):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "../other"]}')
    with pytest.raises(CatalogError, match="outside of its own folder"):
        read_catalog(tmp_path)
    pytest.importorskip("datasets")
    (tmp_path / "dataset_dict.json").unlink()
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../other/data.arrow"}]}')
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(CatalogError, match="outside of its own folder"):
        read_catalog(tmp_path)


def test_paths_at_home_and_paths_that_need_a_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.jpg", "~b.jpg"):
        (tmp_path / name).touch()
    table = pd.DataFrame({"id_str": ["a", "b"], "file_loc": ["~/a.jpg", "~b.jpg"]})
    assert read_catalog(table, root=tmp_path).paths == [str(tmp_path / "a.jpg"), str(tmp_path / "~b.jpg")]
    table["file_loc"] = ["a.jpg ", "images\\~b.jpg"]
    with pytest.raises(
        CatalogError, match=r"begin or end with blanks: strip them\. Some paths have backslashes"
    ):
        read_catalog(table, root=tmp_path)


@pytest.mark.parametrize("names", [("ra", "dec"), ("RAJ2000", "DEJ2000"), ("RA_deg", "Dec_deg")])
def test_positions_without_images_are_hinted_to_mosaics(names, tmp_path):
    (tmp_path / "t.csv").write_text(f"id_str,{names[0]},{names[1]}\na,1,2\n")
    for read in (read_catalog, CatalogStream):
        with pytest.raises(CatalogError, match=r"lacks 'file_loc'.*give --mosaic"):
            read(tmp_path / "t.csv")


def test_positions_may_be_in_any_letter_case():
    cutouts = Cutouts(mosaics=("tile.fits",), pix=8).for_columns(["id_str", "RA", "Dec"])
    assert (cutouts.ra_col, cutouts.dec_col) == ("RA", "Dec")
    assert Cutouts(mosaics=("tile.fits",), pix=8).for_columns(["Ra", "RA", "dec"]).ra_col == "ra"


def test_json_is_a_table_with_every_digit(tmp_path):
    path = tmp_path / "labels.json"
    rows = [
        {"id_str": "007", "ring": 1, "z": 0.5, "wide": 2**70, "seen": True, "note": None},
        {"id_str": "0" + str(2**60 + 1), "z": 1, "wide": 1, "seen": False, "note": "'=1+1"},
    ]
    for content in (rows, {"unsure": ["x"], "data": rows}):
        path.write_text(json.dumps(content), encoding="utf-8-sig")
        table = read_table(path, text_cols=["id_str"])
        assert table["id_str"].tolist() == ["007", "0" + str(2**60 + 1)]
        assert table["wide"].tolist() == [2**70, 1]
        assert table["z"].tolist() == [0.5, 1.0]
        assert table["seen"].dtype == bool
        assert table["ring"].isna().tolist() == [False, True]
        assert table["note"].tolist() == [None, "'=1+1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"rows": []}', "a list with an object for each row"),
        ("7", "a list with an object for each row"),
        ('[{"id_str": "a"}, [1, 2]]', r"got \[1, 2\] \(number 1, from 0\)"),
        ('[{"id_str": "a", "id_str": "b"}]', "repeats"),
        ('[{"id_str": ["a"]}]', "'id_str' .* holds a list or an object in row 0"),
        ('[{"id_str": {"a": 1}}]', "holds a list or an object"),
        ("[" * 100_000, "is no JSON"),
        ('[{"id_str": "a"', "is no JSON"),
        (f"[{', '.join(json.dumps({f'c{n}': 1}) for n in range(6000))}]", "asks for"),
    ],
    ids=range(9),
)
def test_json_that_is_no_table_is_refused(tmp_path, content, words):
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(CatalogError, match=words):
        read_table(tmp_path / "table.json")
