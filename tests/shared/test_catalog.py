"""Catalogs in every format; ids to the last digit; and what a bad catalog is told."""

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.catalog import Catalog, encode_labels, read_catalog
from zoobot.shared.catalogs import galaxy_files
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, LabelError, MissingPackageError
from zoobot.shared.imports import import_optional

SDSS_IDS = [587739505552785605, 587739505552785606, 588017703996096547]


@pytest.fixture
def galaxies(tmp_path):
    """Three galaxies with SDSS ids, their images in a folder, one label missing."""
    (tmp_path / "images").mkdir()
    for galaxy in SDSS_IDS:
        (tmp_path / "images" / f"{galaxy}.jpg").touch()
    return pd.DataFrame(
        {
            "id_str": SDSS_IDS,
            "file_loc": [f"images/{galaxy}.jpg" for galaxy in SDSS_IDS],
            "ring": [1.0, np.nan, 0.0],
            "T": [-5, 3, 10],
        }
    )


def write_table(table: pd.DataFrame, path: Path) -> None:
    if path.name.lower().endswith((".csv", ".csv.gz")):
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".json":
        table.to_json(path, orient="records")
    else:
        from astropy.table import Table

        form = "fits" if ".fit" in path.name.lower() else "votable"
        Table.from_pandas(table).write(path, format=form)


@pytest.mark.parametrize(
    "name",
    [
        "c.csv",
        "C.CSV",
        "c.csv.gz",
        "c.parquet",
        "c.fits",
        "c.FITS",
        "c.fits.gz",
        "c.fit",
        "c.vot",
        "c.votable",
        "c.xml",
        "c.json",
    ],
)
def test_each_format_gives_the_same_catalog(galaxies, tmp_path, name):
    write_table(galaxies, tmp_path / name)
    catalog = read_catalog(tmp_path / name, label_cols=["ring", "T"])
    assert catalog.ids == [str(galaxy) for galaxy in SDSS_IDS]
    assert catalog.paths == [str(tmp_path / "images" / f"{galaxy}.jpg") for galaxy in SDSS_IDS]
    assert catalog.labels.dtype == np.float64
    np.testing.assert_array_equal(catalog.labels, [[1, -5], [np.nan, 3], [0, 10]])
    assert catalog.label_cols == ("ring", "T")
    assert list(catalog.table.columns) == list(galaxies.columns)
    assert str(tmp_path / name) in repr(catalog)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, "Int64", object, str, "string"])
def test_integer_and_text_ids_keep_every_digit(galaxies, dtype):
    galaxies["id_str"] = galaxies["id_str"].astype(dtype)
    assert read_catalog(galaxies, check_files=False).ids == [str(galaxy) for galaxy in SDSS_IDS]


def test_ids_beyond_64_bits_and_bytes_are_kept(galaxies):
    galaxies["id_str"] = pd.Series([2**70 + 1, b"abc", np.int64(SDSS_IDS[0])], dtype=object)
    assert read_catalog(galaxies, check_files=False).ids == [str(2**70 + 1), "abc", str(SDSS_IDS[0])]


@pytest.mark.parametrize("name", ["c.csv", "c.parquet", "c.fits", "c.vot"])
def test_leading_zeros_are_kept(tmp_path, name):
    write_table(pd.DataFrame({"id_str": ["007", "070"], "file_loc": ["a.jpg", "b.jpg"]}), tmp_path / name)
    assert read_catalog(tmp_path / name, check_files=False).ids == ["007", "070"]


@pytest.mark.parametrize("name", ["c.csv", "c.parquet", "c.fits", "c.vot"])
def test_float_ids_are_refused_with_the_reason(galaxies, tmp_path, name):
    galaxies["id_str"] = galaxies["id_str"].astype(float)
    write_table(galaxies, tmp_path / name)
    with pytest.raises(CatalogError, match=r"digits"):
        read_catalog(tmp_path / name, check_files=False)


@pytest.mark.parametrize(
    "mangled", ["5.87739505552786E+17", "5,87739505552786E+17", "6E+17", "587739505552785664.0"]
)
def test_ids_mangled_by_a_spreadsheet_are_refused(tmp_path, mangled):
    (tmp_path / "c.csv").write_text(f'id_str,file_loc\n"{mangled}",a.jpg\n1,b.jpg\n')
    with pytest.raises(CatalogError, match=r"lost its last digits") as info:
        read_catalog(tmp_path / "c.csv", check_files=False)
    assert mangled in str(info.value)


@pytest.mark.parametrize("fine", ["1e5", "123e4567", "J000411.19+020924.0", "12.5", "0x1F", " a", "NGC 1300"])
def test_ids_that_only_look_like_numbers_are_kept(tmp_path, fine):
    (tmp_path / "c.csv").write_text(f"id_str,file_loc\n{fine},a.jpg\n")
    assert read_catalog(tmp_path / "c.csv", check_files=False).ids == [fine]


def test_integer_ids_beside_a_missing_one_say_why_they_are_floats(galaxies, tmp_path):
    galaxies["id_str"] = pd.Series([SDSS_IDS[0], None, SDSS_IDS[2]], dtype="Int64")
    galaxies.to_csv(tmp_path / "c.csv", index=False)
    for source in (galaxies, tmp_path / "c.csv"):
        with pytest.raises(
            CatalogError, match=r"every galaxy needs an id, but 1 of 3 rows .*'id_str'.*\[1\]"
        ):
            read_catalog(source)
    with pytest.raises(CatalogError, match=r"an integer column with an\s+empty cell becomes one"):
        read_catalog(galaxies.astype({"id_str": float}))


@pytest.mark.parametrize("empty", [None, np.nan, "", "  ", "nan", "None", pd.NA])
def test_missing_ids_are_named_by_row(galaxies, empty):
    galaxies["id_str"] = pd.Series(["a", "b", empty], dtype=object)
    with pytest.raises(CatalogError, match=r"1 of 3 rows of the DataFrame have none .*\[2\]"):
        read_catalog(galaxies)


@pytest.mark.parametrize("bad", [True, 1.5, (1, 2)])
def test_ids_of_other_kinds_are_refused(galaxies, bad):
    galaxies["id_str"] = pd.Series(["a", "b", bad], dtype=object)
    with pytest.raises(CatalogError, match=r"ids must be text or integers"):
        read_catalog(galaxies)


def test_duplicate_ids_are_counted_and_the_first_ten_named():
    ids = [f"g{i}" for i in range(20)] * 2 + ["alone"]
    table = pd.DataFrame({"id_str": ids, "file_loc": "a.jpg"})
    with pytest.raises(CatalogError, match=r"20 ids of column 'id_str' occur more\s+than once") as info:
        read_catalog(table, check_files=False)
    assert "'g9'" in str(info.value)
    assert "'g10'" not in str(info.value)


def test_missing_columns_suggest_near_names_and_list_what_is_there():
    table = pd.DataFrame({"ID_STR": ["a"], "file_location": ["a.jpg"], "smooth": [1]})
    with pytest.raises(CatalogError) as info:
        read_catalog(table, label_cols=["smoth", "bar"])
    message = str(info.value)
    assert "'id_str' (did you mean 'ID_STR'?) (choose it with id_col=)" in message
    assert "'file_loc' (did you mean 'file_location'?) (choose it with file_col=)" in message
    assert "'smoth' (did you mean 'smooth'?)" in message
    assert "'bar'. Its columns are 'ID_STR', 'file_location', 'smooth'" in message


def test_wide_tables_are_not_listed_whole():
    table = pd.DataFrame({f"c{i}": [0] for i in range(100)})
    with pytest.raises(CatalogError, match=r"'c39' and 60 more"):
        read_catalog(table)


def test_ids_in_the_index_are_pointed_out(galaxies):
    with pytest.raises(CatalogError, match=r"\['id_str'\] is the index, not a column: call reset_index"):
        read_catalog(galaxies.set_index("id_str"))


def test_other_column_names_can_be_chosen(galaxies):
    table = galaxies.rename(columns={"id_str": "objid", "file_loc": "jpg"})
    catalog = read_catalog(table, id_col="objid", file_col="jpg", label_cols="T", check_files=False)
    assert catalog.ids[0] == str(SDSS_IDS[0])
    assert catalog.label_cols == ("T",)


def test_empty_catalogs_are_refused(galaxies, tmp_path):
    galaxies.iloc[:0].to_csv(tmp_path / "header.csv", index=False)
    (tmp_path / "void.csv").write_text("")
    with pytest.raises(CatalogError, match=r"the DataFrame has no rows"):
        read_catalog(galaxies.iloc[:0])
    with pytest.raises(CatalogError, match=r"header\.csv has no rows"):
        read_catalog(tmp_path / "header.csv")
    with pytest.raises(CatalogError, match=r"void\.csv' is empty"):
        read_catalog(tmp_path / "void.csv")


def test_repeated_columns_are_refused(galaxies, tmp_path):
    (tmp_path / "c.csv").write_text("id_str,file_loc,ring,ring\na,a.jpg,0,1\n")
    table = pd.concat([galaxies, galaxies[["ring"]]], axis=1)
    for source in (tmp_path / "c.csv", table):
        with pytest.raises(CatalogError, match=r"repeats \['ring'\]"):
            read_catalog(source)


def test_windows_and_unicode_csv(tmp_path):
    folder = tmp_path / "Gal axias ñ"
    folder.mkdir()
    (folder / "é 星系.jpg").touch()
    text = 'id_str,file_loc,ring\r\nNGC 1300,"é 星系.jpg",1\r\n'
    (folder / "catálogo.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    catalog = read_catalog(folder / "catálogo.csv", label_cols=["ring"])
    assert catalog.ids == ["NGC 1300"]
    assert catalog.paths == [str(folder / "é 星系.jpg")]
    assert catalog.labels.tolist() == [[1.0]]


def test_csv_that_is_not_utf8_or_has_ragged_rows_is_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("id_str,file_loc\né,a.jpg\n".encode("latin-1"))
    (tmp_path / "long.csv").write_text("id_str,file_loc\na,a.jpg,extra\nb,b.jpg,extra\n")
    (tmp_path / "longer.csv").write_text("id_str,file_loc\na,a.jpg\nb,b.jpg,extra\n")
    for name in ("latin.csv", "long.csv", "longer.csv"):
        with pytest.raises(CatalogError, match=rf"can't read the table .*{name}"):
            read_catalog(tmp_path / name, check_files=False)


@pytest.mark.parametrize("name", ["c.parquet", "c.fits", "c.vot", "c.csv.gz"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name):
    (tmp_path / name).write_text("id_str,file_loc\na,a.jpg\n")
    with pytest.raises(CatalogError, match=rf"can't read the table .*{name}"):
        read_catalog(tmp_path / name)


def test_unknown_suffixes_list_the_known_ones(tmp_path):
    with pytest.raises(CatalogError, match=r"must end in one of \['\.csv', .*'\.parquet', .*got .*c\.xlsx"):
        read_catalog(tmp_path / "c.xlsx")


def test_absent_files_folders_and_other_objects_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(CatalogError, match=r"nowhere\.csv' does not exist"):
        read_catalog(tmp_path / "nowhere.csv")
    with pytest.raises(CatalogError, match=r"folder\.csv holds no images"):
        read_catalog(tmp_path / "folder.csv")
    with pytest.raises(CatalogError, match=r"got .*my_images', which does not exist"):
        read_catalog(tmp_path / "my_images")
    with pytest.raises(CatalogError, match=r"got list"):
        read_catalog([1, 2])


@pytest.mark.skipif(os.name == "nt", reason="there such paths are files")
def test_paths_of_windows_are_no_addresses():
    with pytest.raises(CatalogError, match=r"does not exist.*a path of Windows") as refused:
        read_catalog(r"C:\Users\me\rings.csv")
    assert "download" not in str(refused.value)


def test_a_folder_of_images_has_no_labels(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"lacks 'ring'\. .*'file_loc': images alone; other columns"):
        read_catalog(tmp_path, label_cols=["ring"])


def test_of_the_many_columns_of_a_tree_only_the_first_absent_are_listed(tmp_path):
    (tmp_path / "c.csv").write_text("id_str,file_loc\na,a.jpg\n")
    columns = [f"smooth_{k}" for k in range(30)]
    with pytest.raises(CatalogError, match=r"lacks 'smooth_0'; .*'smooth_5'; and 24 more of the 30 columns"):
        read_catalog(tmp_path / "c.csv", label_cols=columns, check_files=False)


def test_fits_vector_columns_are_left_out_and_names_of_votable_fields_kept(tmp_path):
    from astropy.table import Table

    table = Table(
        {"id_str": ["a", "b"], "file_loc": ["a.jpg", "b.jpg"], "smooth-or-featured-gz2_smooth": [1, 2]}
    )
    table.write(tmp_path / "c.vot", format="votable")
    assert read_catalog(
        tmp_path / "c.vot", label_cols=["smooth-or-featured-gz2_smooth"], check_files=False
    ).labels.tolist() == [[1.0], [2.0]]
    table["vector"] = np.zeros((2, 5))
    table.write(tmp_path / "c.fits")
    assert "vector" not in read_catalog(tmp_path / "c.fits", check_files=False).table.columns


def test_fits_with_odd_units_and_several_tables_reads_the_first_in_silence(tmp_path, recwarn):
    from astropy.io import fits

    columns = [fits.Column("id_str", "20A", array=["a"]), fits.Column("file_loc", "20A", array=["a.jpg"])]
    columns.append(fits.Column("mag", "E", unit="furlongs/fortnight", array=[20.5]))
    tables = [fits.BinTableHDU.from_columns(columns), fits.BinTableHDU.from_columns(columns[:1])]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "c.fits")
    catalog = read_catalog(tmp_path / "c.fits", label_cols=["mag"], check_files=False)
    assert catalog.labels.tolist() == [[20.5]]
    assert len(recwarn) == 0


def test_paths_may_be_absolute_relative_to_the_table_to_a_root_or_path_objects(
    galaxies, tmp_path, monkeypatch
):
    (tmp_path / "tables").mkdir()
    galaxies.to_csv(tmp_path / "tables" / "c.csv", index=False)
    expected = [str(tmp_path / location) for location in galaxies["file_loc"]]
    assert read_catalog(tmp_path / "tables" / "c.csv", root=tmp_path).paths == expected
    assert read_catalog(galaxies, root=str(tmp_path)).paths == expected
    monkeypatch.chdir(tmp_path)
    assert read_catalog(galaxies).paths == expected
    assert read_catalog("tables/c.csv", root=".").paths == expected
    galaxies["file_loc"] = [Path(path) for path in expected]
    monkeypatch.chdir("/")
    assert read_catalog(galaxies).paths == expected


@pytest.mark.parametrize("empty", [None, np.nan, "", " "])
def test_missing_paths_name_the_galaxies(galaxies, empty):
    galaxies["file_loc"] = pd.Series(["a.jpg", empty, "b.jpg"], dtype=object)
    with pytest.raises(CatalogError, match=rf"1 of 3 galaxies .*'file_loc'.*{SDSS_IDS[1]}"):
        read_catalog(galaxies)


def test_paths_that_are_numbers_are_refused(galaxies):
    galaxies["file_loc"] = [1, 2, 3]
    with pytest.raises(CatalogError, match=r"image paths must be text or Path, got 1"):
        read_catalog(galaxies)


@pytest.mark.parametrize("count", [15, 500])  # asked for one by one, and by listing the folder
def test_missing_images_are_counted_and_the_first_ten_named(tmp_path, count):
    there = [tmp_path / f"{i}.jpg" for i in range(count)]
    for path in there[12:]:
        path.touch()
    there[0].mkdir()  # a folder is no image
    table = pd.DataFrame({"id_str": [f"g{i}" for i in range(count)], "file_loc": there})
    with pytest.raises(CatalogError, match=rf"^12 of {count} images of the DataFrame are missing") as info:
        read_catalog(table)
    lines = str(info.value).splitlines()[1:]
    assert lines == [f"  g{i}: {there[i]}" for i in range(10)]
    assert "root=" not in str(info.value)
    assert len(read_catalog(table, check_files=False)) == count


def test_if_every_image_is_missing_the_root_is_to_blame(galaxies, tmp_path):
    with pytest.raises(CatalogError, match=r"relative paths start from .*elsewhere.*root="):
        read_catalog(galaxies, root=tmp_path / "elsewhere")


def test_a_folder_that_cannot_be_listed_is_asked_file_by_file(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.jpg" for i in range(galaxy_files._LIST_FROM)]
    for path in paths:
        path.touch()

    def refuse(folder):
        raise PermissionError(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    table = pd.DataFrame({"id_str": [path.stem for path in paths], "file_loc": paths})
    assert len(read_catalog(table)) == len(paths)


def test_links_to_images_count_and_broken_links_do_not(tmp_path):
    (tmp_path / "real.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    table = pd.DataFrame({"id_str": ["a", "b"], "file_loc": ["link.jpg", "broken.jpg"]})
    with pytest.raises(CatalogError, match=r"1 of 2 images .*\n  b: .*broken\.jpg"):
        read_catalog(table, root=tmp_path)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([True, False, True]),
        pd.Series([1, None, 0], dtype="Int8"),
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series(["1", "", "0"]).replace("", None),
        pd.Series([1, 0, 1], dtype="category"),
        pd.Series([0.25, 0.5, 1.0], dtype="float32"),
    ],
)
def test_number_columns_of_any_kind_become_float64(galaxies, column):
    labels = read_catalog(galaxies.assign(label=column), label_cols=["label"], check_files=False).labels
    expected = [np.nan if pd.isna(value) else float(value) for value in column]
    assert labels.dtype == np.float64
    np.testing.assert_array_equal(labels[:, 0], expected)


@pytest.mark.parametrize("bad", ["spiral", "1,5", pd.Timestamp("2020-01-01"), [1]])
def test_labels_that_are_not_numbers_say_where(galaxies, bad):
    galaxies["kind"] = pd.Series(["0", "1", bad], dtype=object)
    with pytest.raises(LabelError, match=rf"'kind' .*galaxy '{SDSS_IDS[2]}' \(row 2.*encode_labels") as info:
        read_catalog(galaxies, label_cols=["kind"], check_files=False)
    assert repr(bad) in str(info.value)


def test_dates_as_labels_are_refused(galaxies):
    galaxies["date"] = pd.to_datetime(["2020-01-01"] * 3)
    with pytest.raises(LabelError, match=r"labels must be numbers, but column 'date'"):
        read_catalog(galaxies, label_cols=["date"], check_files=False)


def test_a_column_of_labels_twice_is_refused(galaxies):
    with pytest.raises(CatalogError, match=r"label_cols must be different"):
        read_catalog(galaxies, label_cols=["T", "T"], check_files=False)


def test_select_takes_positions_or_a_mask_in_order(galaxies):
    catalog = read_catalog(galaxies, label_cols=["T"], check_files=False)
    for chosen in ([2, 0], np.array([2, 0]), range(2, -1, -2)):
        part = catalog.select(chosen)
        assert part.ids == [str(SDSS_IDS[2]), str(SDSS_IDS[0])]
        assert part.labels.tolist() == [[10.0], [-5.0]]
        assert part.table["T"].tolist() == [10, -5]
        assert [Path(path).stem for path in part.paths] == part.ids
    assert catalog.select(np.array([False, True, False])).ids == [str(SDSS_IDS[1])]
    assert len(catalog.select([])) == 0
    with pytest.raises(IndexError):
        catalog.select([3])


def test_fingerprints_depend_on_ids_paths_and_labels_only(galaxies, tmp_path):
    def fingerprint(table=galaxies, label_cols=("ring",), root=tmp_path):
        return read_catalog(table, label_cols=label_cols, root=root, check_files=False).fingerprint()

    same = [
        fingerprint(),
        fingerprint(galaxies.assign(extra=1)),
        fingerprint(galaxies.astype({"id_str": str})),
    ]
    assert len(set(same)) == 1
    other = [
        fingerprint(label_cols=()),
        fingerprint(label_cols=("T",)),
        fingerprint(galaxies.iloc[::-1]),
        fingerprint(root="/elsewhere"),
        fingerprint(galaxies.assign(ring=[1.0, 0.0, 0.0])),
        fingerprint(galaxies.assign(id_str=["a", "b", "c"])),
    ]
    assert len({same[0], *other}) == 7
    assert fingerprint(galaxies.assign(ring=[1.0, np.nan, -0.0])) == same[0]


def test_fingerprints_are_stable_across_runs_and_machines():
    catalog = Catalog(["a", "bé"], ["/a", "/b"], np.array([[1.0], [np.nan]]), ("x",), pd.DataFrame())
    expected = "2;1:a3:bé2;2:/a2:/b1;1:x".encode() + struct.pack("<dQ", 1.0, 0x7FF8000000000000)
    assert catalog.fingerprint() == hashlib.sha256(expected).hexdigest()


def test_a_catalog_read_before_passes_through_or_gets_other_labels(galaxies):
    catalog = read_catalog(galaxies, check_files=False)
    assert read_catalog(catalog) is catalog
    assert read_catalog(catalog, label_cols=["T"]).labels.tolist() == [[-5.0], [3.0], [10.0]]
    with pytest.raises(CatalogError, match=r"lacks 'Tt' \(did you mean 'T'\?\)"):
        read_catalog(catalog, label_cols=["Tt"])


def test_encoded_classes_become_labels(galaxies):
    galaxies["kind"] = ["spiral", "ring", "spiral"]
    catalog = read_catalog(galaxies, check_files=False)
    codes, names = encode_labels(catalog.table, "kind")
    assert (codes.tolist(), codes.dtype, names) == ([1, 0, 1], np.int64, ("ring", "spiral"))
    labelled = catalog.with_labels(codes, ["kind"])
    assert labelled.labels.tolist() == [[1.0], [0.0], [1.0]]
    assert read_catalog(labelled, label_cols=["kind"]) is labelled
    with pytest.raises(LabelError, match=r"shape \(3, 1\), got \(2,\)"):
        catalog.with_labels(codes[:2], ["kind"])


def test_encode_keeps_a_given_order_and_sorts_numbers_as_numbers():
    table = pd.DataFrame({"kind": ["b", "a"], "number": [10, 9], "real": [2.0, -1.0]})
    codes, names = encode_labels(table, "kind", class_names=["b", "x", "a"])
    assert (codes.tolist(), names) == ([0, 2], ("b", "x", "a"))
    assert encode_labels(table, "number")[1] == ("9", "10")
    assert encode_labels(table, "real")[1] == ("-1", "2")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", None], r"1 rows have none in column 'kind'; .*\[1\]\. Leave these rows out"),
        (["a", " "], r"every galaxy needs a class"),
        ([0.5, 1.0], r"whole numbers, but column 'kind' holds 0\.5"),
        ([np.inf, 1.0], r"whole numbers, but column 'kind' holds inf"),
        (["a", "z"], r"classes \['z'\] that are none of \['a', 'b'\]"),
    ],
)
def test_classes_that_cannot_be_encoded_are_refused(values, words):
    names = ["a", "b"] if values[-1] == "z" else None
    with pytest.raises(LabelError, match=words):
        encode_labels(pd.DataFrame({"kind": values}), "kind", class_names=names)


def test_encoding_an_absent_column_lists_the_columns():
    with pytest.raises(LabelError, match=r"no column 'kind' .*\['a'\]"):
        encode_labels(pd.DataFrame({"a": [1]}), "kind")


def test_the_dataframe_is_neither_changed_nor_copied(galaxies):
    before = galaxies.copy()
    catalog = read_catalog(galaxies, label_cols=["ring"], check_files=False)
    pd.testing.assert_frame_equal(galaxies, before)
    assert catalog.table is galaxies


def test_columns_of_text_are_only_read_as_text_where_asked(tmp_path):
    (tmp_path / "c.csv").write_text("id_str,number\n007,007\n")
    table = read_table(tmp_path / "c.csv", text_cols=["id_str", "absent"])
    assert table["id_str"].tolist() == ["007"]
    assert table["number"].tolist() == [7]


def test_a_missing_package_says_how_to_install_it():
    with pytest.raises(MissingPackageError, match=r"reading X needs the package 'x-y': pip install x-y"):
        import_optional("no_such_package.part", needed_for="reading X", package="x-y")


def test_a_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(bytes.fromhex("1f8b0800000000000003") + b"\xff" * 20)
    with pytest.raises(CatalogError, match="can't read the table"):
        read_table(path)


def test_parquet_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id_str": ["galaxy-1", "galaxy-2"], "file_loc": ["a", "b"]}).to_parquet(
        path, compression=None
    )
    path.write_bytes(path.read_bytes().replace(b"galaxy-1", b"\xffalaxy-1"))
    with pytest.raises(CatalogError, match="can't read the table"):
        read_catalog(path, check_files=False)


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2]), b"\xff", {"a": 1}])
@pytest.mark.parametrize("column", ["id_str", "file_loc"])
def test_cells_that_are_no_text_are_refused(column, value):
    table = pd.DataFrame({"id_str": ["a"], "file_loc": ["a.jpg"]})
    table[column] = pd.Series([value], dtype=object)
    if column == "file_loc" and isinstance(value, bytes):
        assert os.fsencode(read_catalog(table, check_files=False).paths[0]).endswith(b"/\xff")
        return
    with pytest.raises(CatalogError, match="must be text"):
        read_catalog(table, check_files=False)


def test_classes_that_only_look_like_numbers_keep_one_order():
    assert encode_labels(pd.DataFrame({"kind": ["--5", "-", "2"]}), "kind")[1] == ("-", "--5", "2")
    for kinds in (["1", "01", "001"], ["001", "1", "01"]):  # equal as numbers; a set has no order of its own
        assert encode_labels(pd.DataFrame({"kind": kinds}), "kind")[1] == ("001", "01", "1")
    long = "1" * 5000  # Python reads no integer of so many digits
    assert encode_labels(pd.DataFrame({"kind": [long, "2"]}), "kind")[1] == (long, "2")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_thousands_of_columns_cost_no_digit_and_no_name(tmp_path, suffix):
    ids = [1237648720693755918 + i for i in range(3)]
    wide = pd.DataFrame({f"c {i} é": np.arange(3, dtype=np.int8) for i in range(5000)})
    table = pd.concat([pd.DataFrame({"id_str": ids, "file_loc": "a.jpg"}), wide], axis=1)
    (tmp_path / "a.jpg").touch()
    path = tmp_path / f"wide ☃{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path, index=False)
    catalog = read_catalog(path)
    assert catalog.ids == list(map(str, ids))
    assert list(catalog.table)[2:] == list(wide)
    assert CatalogStream(path).facts.galaxies == 3
