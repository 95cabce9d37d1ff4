"""Cutouts by position, from services on the loopback."""

import io
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import requests
from PIL import Image

import zoobot
from zoobot.options.fetch import FetchOptions
from zoobot.options.finetune import FinetuneOptions
from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import CatalogError, ConfigError, ServiceError
from zoobot.shared.tasks import class_of
from zoobot.shared.web.client import Client, NoImage, Pace
from zoobot.sky.surveys import SURVEYS
from zoobot.workflow import fetch
from zoobot.workflow.building import LabelledGalaxies, build_model

SkyService = runpy.run_path(str(Path(__file__).with_name("sky_service.py")))["SkyService"]

SIDE = 10


def picture(number, kind="JPEG", side=SIDE):
    """A small image that differs by its number."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


JPEG = picture(0)
BLANK = io.BytesIO()
Image.new("RGB", (SIDE, SIDE)).save(BLANK, "JPEG")


def fits_image(values, scale_arcsec=0.2):
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header()
    for axis, kind in ((1, "RA---TAN"), (2, "DEC--TAN")):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = kind, 10.0, 1.0
        header[f"CDELT{axis}"] = (-1 if axis == 1 else 1) * scale_arcsec / 3600
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, header)]).writeto(file)
    return file.getvalue()


def always(body, status=200, **headers):
    return lambda *_: (status, headers, body)


@pytest.fixture
def no_waiting(monkeypatch):
    """Time passes when somebody waits, and only then."""
    passed = []
    monkeypatch.setattr(Pace, "sleep", staticmethod(passed.append))
    monkeypatch.setattr(Pace, "clock", staticmethod(lambda: sum(passed)))
    return passed


def positions(tmp_path, count=3):
    table = pd.DataFrame(
        {
            "id_str": [f"{number:04d}" for number in range(count)],
            "ra": np.linspace(10, 20, count),
            "dec": np.linspace(-5, 5, count),
            "r50": np.linspace(1, 2, count),
            "name": [f"=galaxy {number}" for number in range(count)],
        }
    )
    path = tmp_path / "positions.csv"
    table.to_csv(path, index=False)
    return path


def options(tmp_path, service, **more):
    """Options for a few galaxies, or for those of a catalog, of a HiPS or of another survey."""
    given = {"size_arcsec": 5.0, "rate": 1e6, "progress": False, "endpoint": service.endpoint}
    given |= {"save_dir": str(tmp_path / "images")}
    if "survey" not in more:
        given |= {"hips": "CDS/P/X", "size_pix": SIDE}
    if "catalog" not in more:
        given["catalog"] = str(positions(tmp_path))
    return FetchOptions(**given | more)


KILLED = """
import sys
import zoobot.cli
from zoobot.shared.web.client import Pace
Pace.sleep = staticmethod(lambda seconds: None)
sys.exit(zoobot.cli.main(sys.argv[1:]))
"""


def test_a_thousand_images_of_a_poor_service_and_a_client_that_is_killed(tmp_path, monkeypatch):
    count, jpegs = 1000, [picture(number) for number in range(50)]
    rng = np.random.default_rng(1)
    failing = rng.random(4 * count) < 0.05
    killer = {}

    def answer(number, path, query):
        asked = len(service.asked)
        if asked == 400 and "process" in killer:
            killer.pop("process").send_signal(signal.SIGKILL)
        if asked % 97 == 0:
            return 429, {"Retry-After": "0"}, b"slow down"
        if failing[asked % len(failing)]:
            kinds = [(500, {}, b"oops"), (503, {}, b""), (200, {"Content-Length": "9999"}, JPEG[:100])]
            return kinds[asked % 3]
        return 200, {}, jpegs[round((float(query["ra"]) - 10) * 99.9) % 50]

    service = SkyService(answer)
    table = positions(tmp_path, count)
    words = ["fetch", "--catalog", str(table), "--hips", "CDS/P/X", "--endpoint", service.endpoint]
    words += ["--size-arcsec", "5", "--size-pix", str(SIDE), "--save-dir", str(tmp_path / "images")]
    words += ["--rate", "1000000", "--connections", "4", "--no-progress"]
    with service.running():
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        killer["process"] = process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *words], env=environment
        )
        assert process.wait() == -signal.SIGKILL
        came = len(list((tmp_path / "images" / "cutouts").glob("[!.]*.jpg")))
        assert 100 < came < 900
        assert not (tmp_path / "images" / "catalog.csv").exists()
        monkeypatch.setattr(Pace, "sleep", staticmethod(lambda seconds: None))
        given = {"catalog": str(table), "rate": 1e6, "connections": 4}
        result = fetch(options(tmp_path, service, **given))
    assert (result.before, result.fetched) == (came, count - came)
    assert len(result.failures) == 0
    read = read_catalog(result.catalog)
    assert read.ids == [f"{number:04d}" for number in range(count)]
    for number in range(0, count, 7):
        ra = read.table["ra"][number]
        assert Path(read.paths[number]).read_bytes() == jpegs[round((ra - 10) * 99.9) % 50]
    # what was answered is not asked for again, but for the four that may have been on their way at the kill
    again = [place for place, times in service.given.items() if times > 1]
    assert len(again) <= 4
    assert max(service.given.values()) <= 2


def test_what_is_left_is_a_catalog_with_provenance(tmp_path, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        result = fetch(options(tmp_path, service))
    table = read_catalog(result.catalog).table
    assert table["id_str"].tolist() == ["0000", "0001", "0002"]
    assert table["name"].tolist() == ["=galaxy 0", "=galaxy 1", "=galaxy 2"]
    assert set(table["cutout_service"]) == {"hips2fits"}
    assert set(table["cutout_layer"]) == {"CDS/P/X"}
    assert table["cutout_url"].str.startswith(f"{service.endpoint}?hips=CDS%2FP%2FX&ra=10").iloc[0]
    assert pd.to_datetime(table["cutout_date"]).notna().all()
    assert set(table["pixel_scale_arcsec"]) == {0.5}
    assert set(table["cutout_arcsec"]) == {5.0}
    assert set(table["cutout_pix"]) == {SIDE}
    record = json.loads((tmp_path / "images" / "run.json").read_text())
    assert record["work"] == "fetch"
    assert (record["fetched"], record["failed"], record["pixel_scale_arcsec"]) == (3, 0, 0.5)
    agent = service.asked[0][2]["User-Agent"]
    assert agent.startswith(f"Zoobot/{zoobot.__version__} (+https://")
    assert "3 images came" in result.report()


def test_the_pixel_scale_reaches_the_record_of_a_model():
    table = pd.DataFrame(
        {"id_str": list("abc"), "file_loc": "x.jpg", "ring": [0, 1, 0], "pixel_scale_arcsec": 0.5}
    )
    made = SimpleNamespace(finetune=SimpleNamespace(FinetuneableZoobotClassifier=lambda **given: given))
    for column, given, kept in (
        (0.5, None, 0.5),
        (0.5, 0.3, 0.3),
        ([0.5, 0.5, 0.4], None, None),
        ([0.5, 0.5, None], None, None),
        (-99, None, None),
        ("half", None, None),
    ):
        frame = table.assign(pixel_scale_arcsec=column)
        catalog = read_catalog(frame, label_cols=["ring"], check_files=False)
        wanted = FinetuneOptions(catalog="c.csv", labels="ring", save_dir="r", pixel_scale_arcsec=given)
        task = class_of("classification").of_columns(("ring",), class_names=("0", "1"))
        labelled = LabelledGalaxies({"train": catalog}, task)
        pixels = build_model(made, wanted, labelled)["preprocessing"]
        assert (pixels or {}).get("pixel_scale_arcsec") == kept


def test_a_second_run_asks_nothing_and_what_failed_is_tried_again(tmp_path, no_waiting):
    is_there = []

    def answer(number, path, query):
        missing = query["ra"].startswith("15") and not is_there
        return (404, {}, b"<html><h1>No such place</h1></html>") if missing else (200, {}, JPEG)

    with SkyService(answer).running() as service:
        first = fetch(options(tmp_path, service))
        assert first.failures["id_str"].tolist() == ["0001"]
        assert "HTTP 404 Not Found: No such place" in (tmp_path / "images" / "failures.csv").read_text()
        assert len(service.asked) == 3
        is_there.append(True)
        second = fetch(options(tmp_path, service))
        assert (second.before, second.fetched, len(service.asked)) == (2, 1, 4)
        assert not (tmp_path / "images" / "failures.csv").exists()
        fetch(options(tmp_path, service))
        assert len(service.asked) == 4
    assert read_catalog(second.catalog).ids == ["0000", "0001", "0002"]


def test_a_folder_was_asked_for_in_one_way(tmp_path, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        fetch(options(tmp_path, service))
        with pytest.raises(ConfigError, match=r"size_arcsec was 5.0, now 6.0.*--overwrite"):
            fetch(options(tmp_path, service, size_arcsec=6.0))
        fetch(options(tmp_path, service, rate=1e5))
        again = fetch(options(tmp_path, service, size_arcsec=6.0, overwrite=True))
    assert (again.before, again.fetched) == (0, 3)
    assert len(list((tmp_path / "images" / "cutouts").iterdir())) == 3
    other = tmp_path / "mine"
    other.mkdir()
    (other / "catalog.csv").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        fetch(options(tmp_path, service, save_dir=str(other)))


def test_a_damaged_file_is_asked_for_again(tmp_path, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        fetch(options(tmp_path, service))
        first, second, _ = sorted((tmp_path / "images" / "cutouts").iterdir())
        first.write_bytes(JPEG[:50])
        journal = tmp_path / "images" / "fetched.jsonl"
        lines = journal.read_text().splitlines(keepends=True)
        journal.write_text("".join(line for line in lines if second.name not in line)[:-20])
        result = fetch(options(tmp_path, service))
    assert (result.before, result.fetched) == (2, 1)
    assert first.read_bytes() == JPEG


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (always(b"<!DOCTYPE html><p>Sorry, try later</p>"), "no image, but it says: Sorry, try later"),
        (always(b""), "an empty answer"),
        (always(JPEG[: len(JPEG) // 2]), "a damaged image"),
        (always(BLANK.getvalue()), "blank: all pixels are 0, 0, 0"),
        (always(picture(0, "PNG")), "asked for jpg, got png"),
        (always(picture(0, side=SIDE + 2)), f"12 × 12 pixels, asked for {SIDE} × {SIDE}"),
        (always(JPEG, 204), "HTTP 204 No Content"),
        (always(b"", 500), "HTTP 500 Internal Server Error, 3 times"),
        (always(JPEG[:90], **{"Content-Length": "5000"}), "the answer ended too early, 3 times"),
        (always(b"", 302, Location="http://example.org/a.jpg"), "sent on to http://example.org"),
        (always(b"", 302, Location="https://example.org/a.jpg"), "sent on to https://example.org"),
        (always(b"", 302, Location="file:///etc/passwd"), "sent on to file://"),
        (always(b"", 302, Location="/again"), "sent on more than 3 times"),
        (always(b"", **{"Content-Length": str(2**40)}), "too large"),
    ],
)
def test_what_is_no_image_of_a_galaxy_is_a_failure_with_its_reason(tmp_path, no_waiting, answer, reason):
    with (
        SkyService(answer).running() as service,
        pytest.raises(ServiceError, match="3 galaxies failed, which is all"),
    ):
        fetch(options(tmp_path, service, retries=2))
    failures = pd.read_csv(tmp_path / "images" / "failures.csv", dtype=str)
    assert failures["id_str"].tolist() == ["0000", "0001", "0002"]
    assert failures["reason"].str.contains(reason, regex=False).all()
    assert not (tmp_path / "images" / "catalog.csv").exists()
    assert list((tmp_path / "images" / "cutouts").iterdir()) == []
    assert json.loads((tmp_path / "images" / "run.json").read_text())["status"] == "failed"


def test_too_many_failures_end_the_run_and_keep_what_came(tmp_path, no_waiting):
    with SkyService(
        lambda n, p, query: (200 if query["ra"].startswith("10.") else 404, {}, JPEG)
    ).running() as s:
        with pytest.raises(ServiceError, match="more than --max-failures 1; the first, 0001: HTTP 404"):
            fetch(options(tmp_path, s, max_failures=1, connections=1))
        assert read_catalog(tmp_path / "images" / "catalog.csv").ids == ["0000"]


def test_it_waits_as_it_is_told_and_stops_where_that_is_long(tmp_path, no_waiting):
    answers = [(429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")]
    with SkyService(lambda n, *_: [*answers, (200, {}, JPEG)][min(n, 2)]).running() as service:
        client_ = Client(Pace(5), address=service.endpoint)
        assert client_.get(f"{service.endpoint}/a") == JPEG
        assert no_waiting == [7.0, pytest.approx(0.2)]
        client_.get(f"{service.endpoint}/a")
        assert sum(no_waiting) == pytest.approx(7.4)  # five a second
        client_.close()
    with (
        SkyService(always(b"", 429, **{"Retry-After": "86400"})).running() as service,
        pytest.raises(ServiceError, match="left alone for 86,400 s"),
    ):
        fetch(options(tmp_path, service))
    no_waiting.clear()
    with SkyService(always(b"", 500)).running() as service, pytest.raises(NoImage, match="4 times"):
        Client(Pace(1e6), address=service.endpoint, retries=3).get(service.endpoint)
    assert [round(s, 1) for s in no_waiting if s > 0.1] == [0.8, 1.6, 3.2]


def test_a_token_goes_to_the_service_alone_and_is_written_nowhere(tmp_path, no_waiting, monkeypatch):
    token = "sesame-of-a-test"
    monkeypatch.setenv("SKY_TOKEN", f"{token}\n")
    image = fits_image(np.random.default_rng(0).normal(size=(8, 8)).astype("f4"))
    with SkyService(always(image)).running() as other:
        far = f"http://127.0.0.2:{other.port}/x"

        def answer(number, path, query):
            if query["POS"].startswith("CIRCLE 15"):
                return 302, {"Location": far}, b""
            if query["POS"].startswith("CIRCLE 20"):
                return 403, {}, f"your token {token} is not good here".encode()
            return 200, {}, image

        with SkyService(answer).running() as service:
            given = options(
                tmp_path, service, survey="soda", dataset="butler://x", token_env="SKY_TOKEN", size_arcsec=1.6
            )
            result = fetch(given)
    assert {headers["Authorization"] for _, _, headers in service.asked} == {f"Bearer {token}"}
    assert other.asked == []
    assert service.asked[0][1]["ID"] == "butler://x"
    assert result.table["pixel_scale_arcsec"].tolist() == pytest.approx([0.2])
    assert "your token … is not good" in result.failures["reason"].iloc[1]
    for path in (tmp_path / "images").rglob("*"):
        assert path.is_dir() or token.encode() not in path.read_bytes()
    monkeypatch.setenv("SKY_TOKEN", "")
    with pytest.raises(ConfigError, match="names no variable"):
        fetch(given)
    monkeypatch.setenv("SKY_TOKEN", token)
    with pytest.raises(ConfigError, match="by https alone"):
        fetch(options(tmp_path, service, token_env="SKY_TOKEN", endpoint="http://example.org"))
    with SkyService(always(b"", 401)).running() as service, pytest.raises(ServiceError, match="who you are"):
        fetch(options(tmp_path, service, save_dir=str(tmp_path / "b")))


class Raw(io.BytesIO):
    """What comes over a connection."""

    socket = None


class Sent:
    """A session of requests that sends everybody on to another host."""

    def __init__(self):
        self.sent = []

    def get(self, url, *, headers, **_):
        self.sent.append((url, headers))
        answer = requests.Response()
        answer.url, answer.raw = url, Raw(JPEG)
        answer.status_code = 200 if "files" in url else 307
        answer.headers["Location"] = "https://files.org/signed"
        return answer


def test_where_it_may_be_sent_on_to_no_token_goes_along(no_waiting):
    for allowed in ((), ("files.org",)):
        asker = Client(Pace(1), address="https://data.org/api", token="sesame", allow_hosts=allowed)
        asker._session = Sent()
        if allowed:
            assert asker.get("https://data.org/api?x") == JPEG
        else:
            with pytest.raises(NoImage, match=r"https://files\.org, which is not allowed"):
                asker.get("https://data.org/api?x")
        assert asker._session.sent[0] == ("https://data.org/api?x", {"Authorization": "Bearer sesame"})
        assert asker._session.sent[1:] == [("https://files.org/signed", {})] * bool(allowed)


def test_where_nobody_answers_the_run_ends_at_once(tmp_path, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        pass
    with pytest.raises(ServiceError, match=r"127.0.0.1 can't be reached \(no connection"):
        fetch(options(tmp_path, service))
    with SkyService(always(JPEG)).running() as mirror:
        assert fetch(options(tmp_path, mirror)).fetched == 3
    assert fetch(options(tmp_path, service)).before == 3


def asked_of(tmp_path, **more):
    given = {"catalog": "p.csv", "save_dir": str(tmp_path), "size_arcsec": 30.0}
    return FetchOptions(**given | more).asked()


@pytest.mark.parametrize(
    ("more", "url"),
    [
        (
            {"survey": "legacy-dr10"},
            "https://www.legacysurvey.org/viewer/cutout.jpg?ra=189.0865000&dec=-25.9877000&layer=ls-dr10"
            "&pixscale=0.262&size=115",
        ),
        (
            {
                "survey": "legacy-dr9",
                "image_format": "fits",
                "bands": "grz",
                "size_pix": 200,
                "layer": "hsc-dr3",
            },
            "https://www.legacysurvey.org/viewer/cutout.fits?ra=189.0865000&dec=-25.9877000&layer=hsc-dr3"
            "&pixscale=0.15&size=200&bands=grz",
        ),
        (
            {"survey": "sdss", "size_pix": 100},
            "https://skyserver.sdss.org/dr18/SkyServerWS/ImgCutout/getjpeg?ra=189.0865000&dec=-25.9877000"
            "&scale=0.3&width=100&height=100",
        ),
        (
            {"hips": "CDS/P/2MASS/color", "pixel_scale": 1.0, "image_format": "png", "size_arcsec": 36.0},
            "https://alasky.cds.unistra.fr/hips-image-services/hips2fits?hips=CDS%2FP%2F2MASS%2Fcolor"
            "&ra=189.0865000&dec=-25.9877000&fov=0.01&width=36&height=36&projection=TAN&coordsys=icrs&format=png",
        ),
        (
            {"survey": "soda", "endpoint": "https://data.lsst.cloud/api/cutout/sync", "size_arcsec": 36.0},
            "https://data.lsst.cloud/api/cutout/sync?ID=a%26b&POS=CIRCLE%20189.0865000%20-25.9877000%200.005",
        ),
        (
            {"url_template": "https://h/{id_str}.jpg?at={ra},{dec}&s={size_arcsec}"},
            "https://h/J%2F1.jpg?at=189.0865000,-25.9877000&s=30",
        ),
        (
            {"url_template": "https://h/c?{ra}{dec}&p={pixel_scale}&n={size_pix}", "pixel_scale": 0.3},
            "https://h/c?189.0865000-25.9877000&p=0.3&n=100",
        ),
    ],
)
def test_each_service_is_asked_as_it_is_documented(tmp_path, more, url):
    asked = asked_of(tmp_path, **more)
    size = more.get("size_arcsec", 30.0)
    dataset = "a&b" if more.get("survey") == "soda" else ""
    assert asked.cutout("J/1", 189.0865, -25.9877, size, dataset=dataset).url == url


def test_pixels_become_coarser_where_the_service_gives_no_more(tmp_path, no_waiting):
    asked = asked_of(tmp_path, survey="legacy-dr10")
    assert asked.grid(512 * 0.262 * 2) == pytest.approx((512 * 0.262 * 2, 512, 0.524))
    with SkyService(always(picture(0, side=64))).running() as service:
        given = {"survey": "sdss", "size_arcsec": None, "size_col": "r50", "size_factor": 6.0}
        result = fetch(options(tmp_path, service, **given))
    assert result.table["cutout_arcsec"].tolist() == [6.0, 9.0, 12.0]
    assert result.table["pixel_scale_arcsec"].tolist() == [6 / 64, 9 / 64, 12 / 64]
    assert "3 of them have pixels of 0.09375 to 0.1875 arcsec instead of 0.396" in result.report()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "give one of --survey, --hips and --url-template"),
        ({"survey": "sdss", "hips": "x"}, "give one of --survey"),
        ({"survey": "sdsss"}, "must be one of legacy-dr10"),
        ({"survey": "sdss", "size_arcsec": None}, "one of --size-arcsec and --size-col"),
        ({"survey": "sdss", "image_format": "fits"}, "skyserver gives jpg"),
        ({"survey": "sdss", "layer": "x"}, "--layer is for"),
        ({"survey": "sdss", "size_pix": 32}, "64 to 2048 pixels"),
        ({"survey": "sdss", "size_pix": 64, "pixel_scale": 1.0}, "not both"),
        ({"survey": "soda"}, "needs the service's address"),
        ({"hips": "x"}, "--pixel-scale or --size-pix"),
        ({"survey": "sdss", "endpoint": "ftp://x"}, "must begin with https"),
        ({"survey": "sdss", "endpoint": "https://me:secret@x/"}, "no user or password"),
        ({"url_template": "https://h/{ra.__class__}{dec}"}, "of names only"),
        ({"url_template": "https://h/{ra}{dec"}, "can't be read"),
        ({"url_template": "https://h/{ra}"}, "must have {ra} and {dec}"),
        ({"url_template": "https://{id_str}/"}, "must ask one host"),
        ({"url_template": "/etc/{id_str}"}, "must begin with https"),
    ],
)
def test_options_that_can_not_work_are_refused(tmp_path, more, message):
    with pytest.raises(ConfigError) as refused:
        asked_of(tmp_path, **more)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("ra", [10, 20, None], "no position that can be"),
        ("dec", [10, 20, 100], "no position that can be"),
        ("ra", ["00:42:44", "1", "2"], "must hold degrees"),
        ("id_str", ["a", "b", "a"], "more than once"),
        ("r50", [1, -1, 2], "no size in column 'r50' that can be"),
    ],
)
def test_a_table_that_can_not_work_is_refused_before_anything_is_asked(tmp_path, column, values, message):
    table = pd.read_csv(positions(tmp_path), dtype={"id_str": str}).assign(**{column: values})
    table.to_csv(tmp_path / "bad.csv", index=False)
    given = {"size_arcsec": None, "size_col": "r50", "catalog": str(tmp_path / "bad.csv")}
    with SkyService(always(JPEG)).running() as service, pytest.raises(CatalogError, match=message):
        fetch(options(tmp_path, service, **given))
    assert service.asked == []
    assert not (tmp_path / "images").exists()


def test_names_of_galaxies_lead_nowhere(tmp_path, no_waiting):
    ids = ["../../a", "/etc/x", "a/b", "A/b", "..", "x" * 500, "é", "a\\b", "CON", "."]
    table = pd.DataFrame({"id_str": ids, "RA": 1.0, "DEC": 2.0, "file_loc": "old.jpg"})
    with SkyService(always(JPEG)).running() as service:
        given = options(tmp_path, service).to_config() | {"table_format": "parquet", "catalog": table}
        result = zoobot.fetch(**{name: value for name, value in given.items() if value is not None})
    read = read_catalog(result.catalog)
    assert read.ids == ids
    assert len(set(read.paths)) == len(ids)
    assert {Path(path).resolve().parent for path in read.paths} == {
        (tmp_path / "images" / "cutouts").resolve()
    }
    assert "written anew: file_loc" in result.report()


def test_fits_of_no_value_are_blank(tmp_path, no_waiting):
    for values, reason in ((np.full((8, 8), np.nan), "no pixel has a value"), (np.ones((2, 8, 8)), "1, 1")):
        image = fits_image(values.astype("f4"))
        with SkyService(always(image)).running() as service, pytest.raises(ServiceError, match=reason):
            fetch(
                options(tmp_path, service, image_format="fits", size_pix=8, save_dir=str(tmp_path / reason))
            )


def test_every_survey_can_be_asked_for_a_galaxy(tmp_path):
    for name, survey in SURVEYS.items():
        asked = asked_of(
            tmp_path, survey=name, endpoint="https://mirror.org/x/" if name in ("soda", "sia2") else None
        )
        cutout = asked.cutout("a", -1.0, 2.0, 30.0)
        assert "359.0000000" in cutout.url
        assert "{" not in cutout.url
        assert cutout.size_pix is None or survey.service.least_pix <= cutout.size_pix
