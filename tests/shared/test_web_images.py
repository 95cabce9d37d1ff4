"""Images at web addresses, from servers on the loopback: what is asked for, what is not, and what is kept."""

import gzip
import io
import json
import logging
import os
import pickle
import runpy
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import zoobot
from zoobot.options.anomalies import AnomaliesOptions
from zoobot.options.groups import CatalogOptions
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, ServiceError
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.cache import PixelCache
from zoobot.shared.pixels.images import read_image
from zoobot.shared.pixels.locations import join_stack
from zoobot.shared.pixels.web_images import WebAccess, WebImage
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.web import kept
from zoobot.shared.web.client import Client, NoAnswer, Pace
from zoobot.shared.web.kept import KeptAnswers, usual_folder
from zoobot.workflow.pictures import draw_sheet, find_images
from zoobot.zooniverse.manifests import write_upload

SkyService = runpy.run_path(str(Path(__file__).parents[1] / "sky_service.py"))["SkyService"]

HERE = "127.0.0.1"
SIDE = 16
RECORD = Preprocessing(image_size_pix=SIDE, crop_fraction=1.0)

#: A certificate that its own key signed, for localhost and 127.0.0.1; of no use but to be refused.
CERTIFICATE = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKLXq4oa4s43Ohq4R
KDRHm4UI73oZqdQuVHlXpEAfD9ihRANCAATWxoFLxqqqQsMLH3MumtPEvCfI5x/C
oqlsTHDH/n5EuB1sriFPxWrX7sO/MlooQUKABe30rwz0sO/cBivvJu35
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUO/SB2r1kbT+VsOkWtBxiDVFRTfUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEzMDE1MTMyN1oYDzIxMjYxMTA2
MTUxMzI3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATWxoFLxqqqQsMLH3MumtPEvCfI5x/CoqlsTHDH/n5EuB1sriFPxWrX
7sO/MlooQUKABe30rwz0sO/cBivvJu35o28wbTAdBgNVHQ4EFgQUqqzZpapFEGJn
gEyM0v+RPX8SDsQwHwYDVR0jBBgwFoAUqqzZpapFEGJngEyM0v+RPX8SDsQwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSQAwRgIhAIOd4yZQfKa7vry9dxyqosTSIoFBVkRZCNgkDSnDOnlRAiEA
zY3+47BYMJOkDO+4oCJxop0A2DlgyqQ2rHwTFRFRbAc=
-----END CERTIFICATE-----
"""


def picture(number=0, kind="JPEG", side=SIDE):
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


JPEG, PNG = picture(), picture(1, "PNG")
WHITE = io.BytesIO()
Image.new("RGB", (SIDE, SIDE), "white").save(WHITE, "PNG")


@pytest.fixture
def no_waiting(monkeypatch):
    """Time passes when somebody waits, and only then."""
    passed = []
    monkeypatch.setattr(Pace, "sleep", staticmethod(passed.append))
    monkeypatch.setattr(Pace, "clock", staticmethod(lambda: 1000 + sum(passed)))
    return passed


@pytest.fixture
def access(tmp_path):
    def make(**more):
        return WebAccess(**{"hosts": (HERE,), "rate": 1e6, "cache": str(tmp_path / "kept")} | more)

    return make


def always(body, status=200, **headers):
    return lambda *_: (status, headers, body)


def table_of(*addresses):
    ids = [f"g{number}" for number in range(len(addresses))]
    return pd.DataFrame({"id_str": ids, "file_loc": addresses, "ring": 0})


def load(catalog, **more):
    loader = GalaxyLoader(catalog, RECORD, batch_size=4, max_failed_fraction=1.0, **more)
    return [galaxy for batch in loader for galaxy in batch.ids], loader.failures


def test_nothing_is_asked_for_unless_that_is_allowed(tmp_path):
    with SkyService(always(JPEG)).running() as service:
        address = f"{service.endpoint}/a.jpg"
        table = table_of(address, "b.jpg")
        words = r"1 of 2 images in .* lie at web addresses, and none is asked for unless .*--allow-urls"
        with pytest.raises(CatalogError, match=words):
            read_catalog(table, check_files=False)
        table.to_csv(tmp_path / "c.csv", index=False)
        with pytest.raises(CatalogError, match=words):
            _ = CatalogStream(tmp_path / "c.csv").facts
        for given in (address, [address], {"g": address}, [f" {address.upper()}"]):
            with pytest.raises(CatalogError, match="--allow-urls"):
                read_catalog(given)
        bands = pd.DataFrame({"id_str": ["a"], "file_g": ["a.fits"], "file_r": [address]})
        with pytest.raises(CatalogError, match=r"1 of 1 images in columns \['file_g', 'file_r'\]"):
            read_catalog(bands, file_col=["file_g", "file_r"])
        # a text is no place, wherever it comes from
        for text in (address, join_stack([("g", address), ("r", address)])):
            with pytest.raises(ImageError):
                read_image(text, RECORD)
    assert service.asked == []
    with pytest.raises(ConfigError, match="are for --allow-urls"):
        CatalogOptions(catalog="c.csv", url_hosts=("example.org",))
    with pytest.raises(ConfigError, match="allow_urls must be True, False or a WebAccess, got 'yes'"):
        read_catalog(table, allow_urls="yes")
    with pytest.raises(ConfigError, match=r"names alone, such as .*, got 'https://a.org'"):
        CatalogOptions(catalog="c.csv", allow_urls=True, url_hosts=("https://a.org",)).catalog_arguments()
    with pytest.raises(CatalogError, match="nothing is fetched"):
        read_catalog("https://example.org/galaxies.csv", allow_urls=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (always(b"<h1>Gone</h1>", 404), "HTTP 404 Not Found: Gone"),
        (always(b"<!DOCTYPE html><p>Log in, please</p>"), "no image, but it says: Log in, please"),
        (always(b""), "an empty answer"),
        (always(b"", 401), "HTTP 401 Unauthorized"),
        (always(JPEG[: len(JPEG) // 2]), "a damaged image"),
        (always(WHITE.getvalue()), "blank: all pixels are 255, 255, 255"),
        (always(b"", **{"Content-Length": "1000001"}), "too large: 1,000,001 bytes, more than 1,000,000"),
        (
            always(gzip.compress(bytes(10**6 + 1)), **{"Content-Encoding": "gzip"}),
            "too large: more than 1,000,000",
        ),
        (always(JPEG, **{"Content-Encoding": "gzip"}), "it says that it is packed, and can't be unpacked"),
        (always(b"", 503), "HTTP 503 Service Unavailable, 5 times"),
        (always(JPEG[:90], **{"Content-Length": "5000"}), "the answer ended too early, 5 times"),
        (always(b"", 302, Location="file:///etc/passwd"), "sent on to file://, which is not allowed"),
        (always(b"", 302, Location="http://169.254.169.254/"), "sent on to http://169.254.169.254"),
        (always(b"", 302, Location="https://example.org/a.jpg"), "not allowed (--url-hosts, by https)"),
    ],
)
def test_what_is_no_image_is_a_failure_with_its_reason(no_waiting, access, answer, reason):
    service = SkyService(lambda n, path, query: answer() if "bad" in path else (200, {}, PNG))
    with service.running():
        places = [f"{service.endpoint}/{name}" for name in ("a.jpg", "bad.jpg", "b.jpg")]
        catalog = read_catalog(table_of(*places), allow_urls=access(largest_mb=1))
        served, failures = load(catalog)
        assert served == ["g0", "g2"]
        assert [(f.id_str, f.file_loc) for f in failures] == [("g1", places[1])]
        assert reason in failures[0].reason
        asked = len(service.asked)
        assert load(catalog)[0] == served  # the next epoch
        assert len(service.asked) == asked


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://example.org/a.jpg", "is asked by http, which anybody can change: allow the host"),
        (
            "https://127.0.0.2:1/a.jpg",
            "127.0.0.2 lies in a private network: allow it (--url-hosts 127.0.0.2)",
        ),
        ("https://2130706434/a.jpg", "lies in a private network"),
        ("https://[::1]/a.jpg", "::1 lies in a private network"),
        ("https://inside.example.org/a.jpg", "inside.example.org lies in a private network"),
        ("https://user:sesame@example.org/a.jpg", "without user and password"),
        ("https://[::1/a.jpg", "no address that can be asked"),
        ("https://example.org:99999999/a.jpg", "no address that can be asked"),
        ("https:///a.jpg", "no address of a host alone"),
        ("https://127.1/", "127.1 lies in a private network"),
    ],
)
def test_no_other_machine_is_asked(access, monkeypatch, address, reason):
    look_up = socket.getaddrinfo

    def known(host, *more, **options):
        return look_up("10.1.2.3" if host == "inside.example.org" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it was asked"))
    served, failures = load(read_catalog(table_of(address), allow_urls=access()))
    assert served == []
    assert len(read_catalog([address, "https://example.org/b.png"], allow_urls=access())) == 2
    assert reason in failures[0].reason


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", "not whole after 0.5 s"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n", "not whole after 0.5 s"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", "no answer within 0.05 s, 1 times"),
    ],
)
def test_an_answer_that_drips_comes_to_an_end(begin, reason):
    """Each byte comes in time, so that only all of them together take for ever."""
    done = threading.Event()

    def drip(server):
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(begin)
            while not done.wait(0.01):
                connection.sendall(b"x")

    with socket.create_server((HERE, 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        address = f"http://{HERE}:{server.getsockname()[1]}/a.jpg"
        client = Client(Pace(100), address=address, timeout_s=0.05, retries=0)
        with pytest.raises(NoAnswer, match=f"^{reason}$"):
            client.ask(address)
        done.set()


def test_a_proxy_is_asked_where_there_is_one(access, monkeypatch):
    with SkyService(always(JPEG)).running() as service:
        monkeypatch.setenv("http_proxy", service.endpoint)
        addresses = [f"http://nowhere.invalid/{name}.jpg" for name in "ab"]
        ids, _ = load(read_catalog(table_of(*addresses), allow_urls=access(hosts=("nowhere.invalid",))))
    assert (ids, len(service.asked)) == (["g0", "g1"], 2)


def test_a_name_that_means_another_machine_by_now_is_found_out(access, monkeypatch):
    looked_up = []
    look_up = socket.getaddrinfo

    def changing(host, *more, **options):
        looked_up.append(host)
        return look_up("8.8.8.8" if len(looked_up) == 1 else HERE, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr("urllib3.connection.HTTPSConnection.connect", _connect_without_tls)
    with SkyService(always(JPEG)).running() as service:
        address = f"https://moving.org:{service.port}/a.jpg"
        _, failures = load(read_catalog(table_of(address), allow_urls=access()))
    assert failures[0].reason == "moving.org lies in a private network"
    assert (len(looked_up), service.asked) == (2, [])


def _connect_without_tls(connection):
    connection.sock = connection._new_conn()


def test_a_certificate_that_does_not_hold_is_no_reason_to_go_on(access, tmp_path, no_waiting):
    service = SkyService(always(JPEG))
    (tmp_path / "c.pem").write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem")
    service._server.socket = context.wrap_socket(service._server.socket, server_side=True)
    with service.running():
        address = f"https://{HERE}:{service.port}/a.jpg"
        _, failures = load(read_catalog(table_of(address), allow_urls=access()))
    assert "its certificate does not hold" in failures[0].reason
    assert no_waiting == []


def test_addresses_are_asked_for_as_they_are_written(access, no_waiting):
    with SkyService(lambda n, path, query: (200, {}, PNG if "b c" in path else JPEG)).running() as service:
        places = [
            f"{service.endpoint}/{n}" for n in ("a.jpg?size=3&x=a%20b", "b%20c", "d e.jpg", "ü.jpg#top")
        ]
        served, failures = load(read_catalog(table_of(*places), allow_urls=access()))
    assert (len(served), failures) == (4, [])
    assert set(service.tries) == {"/a.jpg?size=3&x=a%20b", "/b%20c", "/d%20e.jpg", "/%C3%BC.jpg"}
    assert service.asked[0][2]["User-Agent"].startswith(f"Zoobot/{zoobot.__version__} (+https://")


def test_images_given_by_their_addresses_alone(access, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        one, other = f"{service.endpoint}/ngc1.jpg?size=3", f"{service.endpoint}/ngc2"
        for given, ids in ((one, ["ngc1"]), ([one, other], ["ngc1", "ngc2"]), ({"m1": one}, ["m1"])):
            catalog = read_catalog(given, allow_urls=access())
            assert catalog.ids == ids
            assert load(catalog) == (ids, [])
            assert load(catalog.decoded_whole()) == (ids, [])
            stream = CatalogStream(catalog)
            assert [load(part.galaxies)[0] for part in stream.parts(1)] == [[name] for name in ids]
            again = pickle.loads(pickle.dumps(catalog))
            assert load(again) == (ids, [])
    assert max(service.tries.values()) == 1


def test_bands_at_addresses_and_a_chosen_extension(access, no_waiting, tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    noise = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype("f4")
    file = io.BytesIO()
    blank = fits.ImageHDU(np.zeros_like(noise), name="FLAGS")
    fits.HDUList([fits.PrimaryHDU(), blank, fits.ImageHDU(noise, name="SCI")]).writeto(file)
    (tmp_path / "g.fits").write_bytes(file.getvalue())
    with SkyService(lambda n, p, q: (404 if "no" in p else 200, {}, file.getvalue())).running() as service:
        place = f"{service.endpoint}/r.fits"
        table = pd.DataFrame({"id_str": ["a", "b"], "file_g": ["g.fits", "g.fits"], "file_r": [place, place]})
        table["file_r"] = [place, f"{service.endpoint}/no.fits"]
        catalog = read_catalog(table, file_col=["file_g", "file_r"], root=tmp_path, allow_urls=access())
        record = Preprocessing(channels=2, hdu="SCI", image_size_pix=SIDE, mean=(0.5,), std=(0.5,))
        values = read_image(catalog.paths[0], record)
        assert values.shape == (SIDE, SIDE, 2)
        np.testing.assert_array_equal(values[..., 0], values[..., 1])
        with pytest.raises(ImageError, match=r"band r, .*no\.fits: HTTP 404"):
            read_image(catalog.paths[1], record)


# What came is kept.


def test_each_is_asked_for_once_by_all_threads_epochs_and_runs(access, no_waiting):
    with SkyService(always(JPEG)).running() as service:
        catalog = read_catalog(
            table_of(*[f"{service.endpoint}/{n % 5}.jpg" for n in range(40)]), allow_urls=access()
        )
        with ThreadPoolExecutor(8) as pool:
            images = list(pool.map(lambda place: read_image(place, RECORD), catalog.paths))
        assert {image.tobytes() for image in images} == {images[0].tobytes()}
        load(read_catalog(catalog, allow_urls=access(rate=1e5)))  # as another run has it
    assert service.tries == {f"/{n}.jpg": 1 for n in range(5)}


def test_pixels_are_kept_of_addresses_too(access, no_waiting, tmp_path):
    with SkyService(always(JPEG)).running() as service:
        (place,) = read_catalog(f"{service.endpoint}/a.jpg", allow_urls=access(cache_gb=0)).paths
        cache = PixelCache(tmp_path / "pixels", RECORD, None)
        first = cache.read(place)
        cache.refresh()
        second = cache.read(place)
        assert service.tries == {"/a.jpg": 1}
        np.testing.assert_array_equal(first.pixels, second.pixels)
        read_image(place, RECORD)
        assert service.tries == {"/a.jpg": 2}  # for nothing else is kept
    assert not (tmp_path / "kept").exists()


def test_a_damaged_file_is_asked_for_again_and_others_are_left_alone(access, no_waiting, tmp_path):
    (tmp_path / "kept" / "ab").mkdir(parents=True)
    mine = [tmp_path / "kept" / "thesis.tex", tmp_path / "kept" / "ab" / "thesis.tex"]
    for file in mine:
        file.write_bytes(bytes(2000))
        os.utime(file, (0, 0))
    with SkyService(always(JPEG)).running() as service:
        catalog = read_catalog(f"{service.endpoint}/a.jpg", allow_urls=access(cache_gb=1e-6))
        load(catalog)
        (file,) = [path for path in (tmp_path / "kept").glob("*/*") if path not in mine]
        for damaged in (file.read_bytes()[:-9], b"", b"abc"):
            file.write_bytes(damaged)
            assert load(catalog) == (["a"], [])
        assert service.tries == {"/a.jpg": 4}
    assert all(path.exists() for path in mine)


def test_a_full_folder_forgets_what_no_run_needs(tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.WARNING, logger="zoobot")
    old = KeptAnswers(tmp_path, 10_000)
    for number in range(9):
        old.keep(f"https://a.org/{number}", bytes([number + 1]) * 1000)
        path = old._path(f"https://a.org/{number}")
        os.utime(path, (1000 + number, 1000 + number))
    new = KeptAnswers(tmp_path, 10_000)
    assert new.find("https://a.org/0") == b"\1" * 1000  # in use again
    for number in range(4):
        new.keep(f"https://b.org/{number}", bytes(1000))
    left = [number for number in range(9) if new.find(f"https://a.org/{number}") is not None]
    assert left == [0, 5, 6, 7, 8]
    assert not caplog.messages
    for number in range(4, 9):
        new.keep(f"https://b.org/{number}", bytes(1000))
    assert "keeps no more images of the web (it has" in caplog.text
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10_000
    monkeypatch.setattr(kept, "_KEEP_FREE_BYTES", 2**80)
    KeptAnswers(tmp_path / "more", 10_000).keep("https://a.org", b"1")
    assert "less than 1 GiB of disk would be free" in caplog.text


def test_where_things_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_folder() == tmp_path / "zoobot" / "web-images"


# Services that are out of order.


def test_a_network_that_is_gone_ends_a_run_instead_of_failing_all(access, no_waiting):
    is_gone = []

    def answer(number, path, query):
        return (503, {}, b"") if is_gone else (200, {}, JPEG)

    with SkyService(answer).running() as service:
        catalog = read_catalog(table_of(*[f"{service.endpoint}/{n}" for n in range(60)]), allow_urls=access())
        load(catalog.select(range(10)))
        is_gone.append(True)
        with pytest.raises(ServiceError, match=r"gives no answer, 20 images in a row \(HTTP 503"):
            load(catalog, num_workers=0)
        is_gone.clear()
        no_waiting.append(601)  # reasons are remembered for a while
        assert len(load(catalog)[0]) == 60
    no_waiting.append(601)
    elsewhere = read_catalog(
        table_of(*[f"{service.endpoint}/{n}/" for n in range(60)]), allow_urls=access(rate=9e5)
    )
    with pytest.raises(ServiceError, match="can't be reached, 20 images in a row"):
        load(elsewhere, num_workers=0)


def test_one_host_of_several_that_is_none_costs_little(access, no_waiting):
    with SkyService(always(JPEG)).running() as gone:
        pass
    with SkyService(always(JPEG)).running() as service:
        hosts = [service.endpoint, gone.endpoint]
        catalog = read_catalog(table_of(*[f"{hosts[n % 2]}/{n}" for n in range(60)]), allow_urls=access())
        served, failures = load(catalog, num_workers=0)
    assert len(served) == len(failures) == 30
    assert "no connection" in failures[0].reason
    assert "gave no answer 2 times" in failures[-1].reason
    assert len([pause for pause in no_waiting if pause > 0.1]) == 2 * 4


def test_all_together_keep_to_a_rate_and_are_told_to_wait(access, no_waiting):
    answers = [(429, {"Retry-After": "7"}, b"")]
    with SkyService(lambda n, *_: answers.pop() if answers else (200, {}, JPEG)).running() as service:
        catalog = read_catalog(
            table_of(*[f"{service.endpoint}/{n}" for n in range(21)]), allow_urls=access(rate=5)
        )
        assert len(load(catalog, num_workers=0)[0]) == 21
        assert sum(no_waiting) == pytest.approx(7 + 20 / 5)
    with SkyService(always(b"", 429, **{"Retry-After": "86400"})).running() as service:
        catalog = read_catalog(f"{service.endpoint}/a", allow_urls=access())
        with pytest.raises(ServiceError, match="left alone for 86,400 s"):
            load(catalog)


def test_the_word_of_a_record_allows_nothing(tmp_path):
    options = CatalogOptions(catalog="c.csv", allow_urls=True, url_rate=2.0, url_hosts=("a.org",))
    told = options.catalog_arguments()["allow_urls"]
    assert told == WebAccess(rate=2.0, hosts=("a.org",))
    stream = CatalogStream(table_of("https://a.org/a.jpg"), allow_urls=told)
    assert isinstance(stream.first_paths()[0], WebImage)
    table_of("https://a.org/a.jpg").to_csv(tmp_path / "c.csv", index=False)
    place = read_catalog(tmp_path / "c.csv", allow_urls=True).place
    assert "allow_urls" not in place
    assert Client(Pace(1), address="https://a.org").reached is False


def test_tables_of_features_show_their_galaxies_where_that_is_allowed(access, no_waiting, tmp_path, undrawn):
    ids = ["g0", "g1"]
    with SkyService(always(JPEG)).running() as service:
        table_of(*[f"{service.endpoint}/{n}" for n in ids]).to_csv(tmp_path / "c.csv", index=False)
        origin = {"place": read_catalog(tmp_path / "c.csv", allow_urls=access()).place, "preprocessing": None}
        with pytest.raises(CatalogError, match="--allow-urls"):
            find_images(ids, AnomaliesOptions(features="f.csv", save_loc="s.csv"), origin)
        web = {"allow_urls": True, "url_hosts": (HERE,), "url_cache": str(tmp_path / "kept"), "url_rate": 1e6}
        options = AnomaliesOptions(features="f.csv", save_loc="s.csv", **web)
        places = pd.Series(find_images(ids, options, origin)).tolist()  # plain texts, as tables have them
        with undrawn():
            draw_sheet(tmp_path / "without", ["png"], places, ids, origin)
            assert service.asked == []
            draw_sheet(tmp_path / "with", ["png"], places, ids, origin, web=options.web_access())
    assert service.tries == {"/g0": 1, "/g1": 1}


def test_images_go_to_volunteers_as_they_came(access, no_waiting, tmp_path):
    with SkyService(lambda n, path, query: (404 if "no" in path else 200, {}, JPEG)).running() as service:
        places = [f"{service.endpoint}/a.jpg", f"{service.endpoint}/no.jpg"]
        galaxies = read_catalog(table_of(*places), allow_urls=access())
        listed = pd.DataFrame({"id_str": galaxies.ids, "rank": [1, 2], "score": 0.5, "reason": "said"})
        upload = write_upload(tmp_path / "upload", listed, galaxies, preprocessing=RECORD)
    assert upload.failures["reason"].tolist() == ["HTTP 404 Not Found"]
    (image,) = (tmp_path / "upload").glob("*.jp*g")
    assert image.read_bytes() == JPEG


# Lists of subjects of the Zooniverse.


def subject(number, **more):
    known = {"project_id": "5733", "subject_set_id": "12", "subject_id": f"{number}", "frame_id": "0"} | more
    return [f"https://panoptes-uploads.zooniverse.org/subject_location/{number}.jpeg", known]


def test_a_list_of_subjects_is_a_catalog(tmp_path):
    path = tmp_path / "subject-set-12.json"
    rows = [subject(9007199254740993), subject(2, z=0.1, ra=None)]
    path.write_text(json.dumps([[address, json.dumps(known)] for address, known in rows]))
    catalog = read_catalog(path, allow_urls=True)
    assert catalog.ids == ["9007199254740993", "2"]
    assert catalog.paths == [address for address, _ in rows]
    assert catalog.table["subject_set_id"].tolist() == ["12", "12"]
    assert catalog.table["z"].tolist()[1] == "0.1"
    assert CatalogStream(path, allow_urls=True).facts.galaxies == 2
    path.write_text(json.dumps(rows))  # not written as texts
    assert read_catalog(path, allow_urls=True).ids == catalog.ids
    with pytest.raises(CatalogError, match="--allow-urls"):
        read_catalog(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "must hold an array of subjects"),
        ("[1]", r"got 1 \(number 0, from 0\)"),
        ('[["https://a.org", "{"]]', "number 0"),
        ('[["https://a.org", "[]"]]', "number 0"),
        ('[["https://a.org", {"subject": 1}]]', "has no subject_id"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "has no rows"),
        (
            '[["https://a.org", {"subject_id": 1}], ["https://a.org", {"subject_id": 1}]]',
            "occur more than once|once",
        ),
    ],
)
def test_what_is_no_list_of_subjects(tmp_path, text, words):
    path = tmp_path / "subjects.json"
    path.write_text(text)
    with pytest.raises(CatalogError, match=words):
        read_catalog(path, allow_urls=True)
