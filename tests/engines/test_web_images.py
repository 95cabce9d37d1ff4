"""Images at web addresses, in every engine: the same as files, each asked for once, whatever happens."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.errors import ServiceError
from zoobot.shared.pixels.web_images import WebAccess
from zoobot.shared.web.client import Pace

SkyService = runpy.run_path(str(Path(__file__).parents[1] / "sky_service.py"))["SkyService"]


@pytest.fixture
def survey(catalog_path, monkeypatch):
    """The catalog, its images behind addresses, and what serves them; nobody waits for long."""
    monkeypatch.setattr(Pace, "sleep", staticmethod(lambda seconds: None))
    odd = {
        "/3.png": (404, {}, b"<p>gone</p>"),
        "/5.png": (200, {}, b"<html>Log in</html>"),
        "/7.png": (200, {}, (catalog_path.parent / "7.png").read_bytes()[:300]),
        "/9.png": (200, {"Content-Length": str(10**9)}, b""),
    }

    def answer(number, path, query):
        if is_closed:
            return 429, {"Retry-After": "86400"}, b""
        if number == 0 and path in ("/0.png", "/11.png"):
            return 503, {"Retry-After": "0"}, b""
        return odd.get(path, (200, {}, (catalog_path.parent / path[1:]).read_bytes()))

    is_closed = []
    table = pd.read_csv(catalog_path)
    with SkyService(answer).running() as service:
        table["file_loc"] = [f"{service.endpoint}/{name}" for name in table["file_loc"]]
        yield table, service, odd, is_closed


def access(folder):
    return WebAccess(hosts=("127.0.0.1",), rate=1e6, cache=str(folder))


def test_predictions_of_addresses_are_those_of_the_files(engine, survey, make_model, catalog_path, tmp_path):
    table, service, *_ = survey
    model = make_model("tree")
    files = engine.predict.predict(catalog_path, model, progress=False).table
    for _ in range(2):
        galaxies = read_catalog(table, allow_urls=access(tmp_path))
        found = engine.predict.predict(galaxies, model, progress=False)
        failed = found.failures.set_index("id_str")["reason"].to_dict()
        assert list(failed) == [f"galaxy-{number}" for number in (3, 5, 7, 9)]
        for reason, words in zip(
            failed.values(), ("HTTP 404", "Log in", "damaged", "too large"), strict=True
        ):
            assert words in reason
        kept = files[~files["id_str"].isin(failed)].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.table, kept, rtol=1e-5)
    asked = {path: times - (path in ("/0.png", "/11.png")) for path, times in service.tries.items()}
    assert asked == {f"/{number}.png": 1 for number in range(24)}


def test_a_run_into_parts_goes_on_without_asking_twice(engine, survey, make_model, tmp_path):
    table, service, odd, is_closed = survey
    odd.clear()
    table.to_csv(tmp_path / "c.csv", index=False)
    model = make_model("classification")

    def predict(name):
        stream = CatalogStream(tmp_path / "c.csv", allow_urls=access(tmp_path / name))
        options = {"part_rows": 8, "batch_size": 4, "num_workers": 0, "progress": False}
        engine.predict.predict(stream, model, save_loc=tmp_path / f"parts of {name}", **options)
        folder = tmp_path / f"parts of {name}"
        return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}

    whole = predict("whole")
    service.given.clear()
    serve = service.answer

    def until_closed(number, path, query):
        is_closed.extend([True] * (path == "/13.png" and service.given["/13.png"] == 0 and not is_closed))
        return serve(number, path, query)

    service.answer = until_closed
    with pytest.raises(ServiceError, match="left alone for 86,400 s"):
        predict("killed")
    assert sum(service.given.values()) == 13
    service.answer = serve
    is_closed.clear()
    assert predict("killed") == whole
    assert service.given == {f"/{number}.png": 1 for number in range(24)}


def test_epochs_ask_once(survey, make_model, fit, make_galaxies, tmp_path):
    table, service, odd, _ = survey
    odd.clear()
    galaxies = make_galaxies(
        read_catalog(table, allow_urls=access(tmp_path / "kept")), label_cols=["edge_on"]
    )
    model = fit(make_model("classification", n_blocks=1), tmp_path / "run", galaxies=galaxies, max_epochs=3)
    assert len(galaxies.failures) == 0
    assert set(service.given.values()) == {1}
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "metrics.csv").iloc[:, -1]).any()
    assert model.task.label_cols == ("edge_on",)
