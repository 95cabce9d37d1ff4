"""Images searched for by position (SIA2), linked (DataLink) and cut (SODA), by services on the loopback."""

import io
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from zoobot.options.fetch import FetchOptions
from zoobot.shared.errors import ConfigError, ServiceError
from zoobot.shared.web.client import NoImage, Pace
from zoobot.sky.images import read_answer, region_edge
from zoobot.workflow import fetch

fits = pytest.importorskip("astropy.io.fits")
SkyService = runpy.run_path(str(Path(__file__).with_name("sky_service.py")))["SkyService"]

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<VOTABLE version="1.4" '
    'xmlns="http://www.ivoa.net/xml/VOTable/v1.3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n'
)
DATALINK = "application/x-votable+xml;content=datalink"
TEXT = 'datatype="char" arraysize="*"'
OBSCORE = {
    "dataproduct_type": f'{TEXT} utype="obscore:ObsDataset.dataProductType" ucd="meta.id"',
    "calib_level": 'datatype="int" utype="obscore:ObsDataset.calibLevel" ucd="meta.code;obs.calib"',
    "obs_publisher_did": f'{TEXT} utype="obscore:Curation.PublisherDID" ucd="meta.ref.uri;meta.curation"',
    "access_url": f'{TEXT} utype="obscore:Access.Reference" ucd="meta.ref.url"',
    "access_format": f'{TEXT} utype="obscore:Access.Format" ucd="meta.code.mime"',
    "s_ra": 'datatype="double" unit="deg" ucd="pos.eq.ra"',
    "s_dec": 'datatype="double" unit="deg" ucd="pos.eq.dec"',
    "s_fov": 'datatype="double" unit="deg" ucd="phys.angSize;instr.fov"',
    "s_region": f'{TEXT} xtype="adql:REGION" utype="obscore:Char.SpatialAxis.Coverage.Support.Area"',
    "t_min": 'datatype="double" unit="d" ucd="time.start;obs.exposure"',
    "em_min": 'datatype="double" unit="m" ucd="em.wl;stat.min"',
    "em_max": 'datatype="double" unit="m" ucd="em.wl;stat.max"',
}


def found(*images, status='<INFO name="QUERY_STATUS" value="OK"/>', after="", more="", **kinds):
    """What a search answers: rows of ObsCore, with what each says differently from the others."""
    usual = {"dataproduct_type": "image", "calib_level": 3, "access_format": DATALINK}
    usual |= {"access_url": "/links", "em_min": 5.5e-07, "em_max": 7e-07, "s_region": box(10, 0)}
    fields = "".join(f'<FIELD name="{name}" {kind}/>\n' for name, kind in (OBSCORE | kinds).items())
    cells = [[(usual | image).get(name, "") for name in OBSCORE] for image in images]
    rows = "".join(f"<TR>{''.join(f'<TD>{one}</TD>' for one in row)}</TR>\n" for row in cells)
    table = f"<TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>"
    return f'{HEAD}<RESOURCE type="results">{status}{table}{after}</RESOURCE>{more}</VOTABLE>'.encode()


def box(ra, dec, half=0.1):
    return (
        f"POLYGON ICRS {ra - half} {dec - half} {ra + half} {dec - half} "
        f"{ra + half} {dec + half} {ra - half} {dec + half}"
    )


def descriptor(
    address,
    standard="ivo://ivoa.net/std/SODA#sync-1.0",
    inputs=("POS", "CIRCLE"),
    named='value=""',
    detail="",
):
    kinds = {"CIRCLE": 'datatype="double" arraysize="3" xtype="circle" unit="deg"'}
    kinds |= {"POLYGON": 'datatype="double" arraysize="*" xtype="polygon" unit="deg"'}
    params = "".join(
        f'<PARAM name="{one}" {kinds.get(one, TEXT)} ucd="pos.outline;obs" value=""/>' for one in inputs
    )
    params += f'<PARAM name="DETAIL" {TEXT} value="{detail}"><VALUES><OPTION value="Image"/></VALUES></PARAM>'
    return (
        f'<RESOURCE type="meta" ID="cut" utype="adhoc:service"><PARAM name="standardID" {TEXT} '
        f'value="{standard}"/><PARAM name="accessURL" {TEXT} value="{address}"/><GROUP name="inputParams">'
        f'<PARAM name="ID" {TEXT} ucd="meta.id;meta.main" {named}/>{params}</GROUP></RESOURCE>'
    )


def links(*services, error=""):
    """What a page of links answers: the columns of DataLink 1.0, and services described."""
    names = ("ID", "access_url", "service_def", "error_message", "semantics", "description", "content_type")
    fields = "".join(f'<FIELD ID="f_{one}" name="{one}" {TEXT}/>' for one in names)
    fields += '<FIELD name="content_length" datatype="long" unit="byte"/>'
    rows = "<TR><TD>ivo://o/1</TD><TD>/all.fits</TD><TD/><TD/><TD>#this</TD><TD/><TD/><TD>9</TD></TR>"
    rows += f"<TR><TD>row</TD><TD/><TD>cut</TD><TD>{error}</TD><TD>#cutout</TD><TD/><TD/><TD/></TR>"
    table = f"<TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>"
    return f'{HEAD}<RESOURCE type="results">{table}</RESOURCE>{"".join(services)}</VOTABLE>'.encode()


def cut():
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.2 / 3600, "CDELT2": 0.2 / 3600}
    )
    file = io.BytesIO()
    fits.PrimaryHDU(np.arange(64, dtype="f4").reshape(8, 8), header).writeto(file)
    return file.getvalue()


CUT = cut()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(Pace, "sleep", staticmethod(lambda seconds: None))


def options(tmp_path, service, **more):
    table = pd.DataFrame({"id_str": ["a"], "ra": [10.0], "dec": [0.0]})
    given = {"catalog": str(tmp_path / "p.csv"), "survey": "sia2", "endpoint": f"{service.endpoint}/sia"}
    given |= {"save_dir": str(tmp_path / "images"), "size_arcsec": 36.0, "rate": 1e6, "progress": False}
    table.to_csv(tmp_path / "p.csv", index=False)
    return FetchOptions(**given | more)


def answering(answers):
    """A service of which each place has one answer: bytes, or (status, headers, bytes)."""

    def answer(number, path, query):
        body = answers.get(path.strip("/"), (404, {}, b"nothing here"))
        return body if isinstance(body, tuple) else (200, {}, body)

    return SkyService(answer)


def reason_of(tmp_path, answers, **more):
    with answering(answers).running() as service, pytest.raises(ServiceError, match="which is all of them"):
        fetch(options(tmp_path, service, overwrite=True, **more))
    (reason,) = pd.read_csv(tmp_path / "images" / "failures.csv")["reason"]
    return reason, [path for path, _, _ in service.asked]


def test_the_best_image_is_searched_linked_and_cut_and_stands_in_the_catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("SKY_TOKEN", "sesame")
    images = [
        {"obs_publisher_did": "ivo://o/raw", "calib_level": 1},
        {"obs_publisher_did": "ivo://o/edge", "calib_level": 4, "s_region": box(10.098, 0)},
        {"obs_publisher_did": "ivo://o/untold", "calib_level": 4, "s_region": ""},
        {"obs_publisher_did": "ivo://o/beside", "calib_level": 4, "s_region": box(11, 0)},
        {"obs_publisher_did": "ivo://o/cube", "calib_level": 4, "dataproduct_type": "cube"},
        {"obs_publisher_did": "ivo://o/near", "s_region": box(10.05, 0)},
        {"obs_publisher_did": "ivo://o/1", "access_url": "/links?ID=1&amp;x=y"},
    ]
    answers = {"sia": found(*images), "links": links(descriptor("/sync")), "sync": CUT}
    given = {"collection": "LSST.DP1", "band": "5.5e-7 7e-7", "calib_level": 3, "token_env": "SKY_TOKEN"}
    with answering(answers).running() as service:
        result = fetch(options(tmp_path, service, **given))
        assert [path for path, _, _ in service.asked] == ["/sia", "/links", "/sync"]
        fetch(options(tmp_path, service, **given))
        assert len(service.asked) == 3
    (_, searched, _), (_, linked, _), (_, asked, _) = service.asked
    assert searched == {
        "POS": "CIRCLE 10.0000000 0.0000000 0.005",
        "COLLECTION": "LSST.DP1",
        "BAND": "5.5e-7 7e-7",
        "CALIB": "3",
        "DPTYPE": "image",
        "MAXREC": "1000",
    }
    assert linked == {"ID": "1", "x": "y"}
    assert asked == {"ID": "row", "POS": "CIRCLE 10.0000000 0.0000000 0.005"}
    assert {headers["Authorization"] for _, _, headers in service.asked} == {"Bearer sesame"}
    (row,) = result.table.to_dict("records")
    assert (row["cutout_service"], row["cutout_layer"]) == ("sia2", "LSST.DP1")
    assert (row["cutout_dataset"], row["cutout_images_found"]) == ("ivo://o/1", 6)
    assert row["cutout_edge_arcsec"] == pytest.approx(360, abs=0.01)
    assert row["cutout_band_m"] == "5.5e-07 7e-07"
    assert row["cutout_url"].startswith(f"{service.endpoint}/sync?ID=row&POS=")
    assert row["pixel_scale_arcsec"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("service", "query"),
    [
        (descriptor("/sync", named='value="one"'), {"ID": "one", "POS": "CIRCLE 10.0000000 0.0000000 0.005"}),
        (descriptor("/sync?a=b", named='value="" ref="f_ID"', inputs=("CIRCLE", "POLYGON")), None),
    ],
)
def test_who_cuts_is_asked_as_it_describes_itself(tmp_path, service, query):
    answers = {"sia": found({"obs_publisher_did": "ivo://o/1"}), "links": links(service), "sync": CUT}
    with answering(answers).running() as sky:
        fetch(options(tmp_path, sky))
    assert sky.asked[-1][1] == (query or {"a": "b", "ID": "row", "CIRCLE": "10.0000000 0.0000000 0.005"})


def test_of_several_who_cut_the_one_for_cutouts_is_asked_as_it_fixed(tmp_path):
    other = descriptor("/other").replace('ID="cut"', 'ID="other"')
    answers = {"sia": found(ONE), "links": links(other, descriptor("/sync", detail="Image")), "sync": CUT}
    with answering(answers).running() as sky:
        fetch(options(tmp_path, sky))
    assert sky.asked[-1][0] == "/sync"
    assert sky.asked[-1][1]["DETAIL"] == "Image"


def test_a_search_may_tell_itself_who_cuts_or_the_user_may(tmp_path):
    whole = {"obs_publisher_did": "ivo://o/1", "access_format": "image/fits", "access_url": "/all.fits"}
    standard = "ivo://ivoa.net/std/DataLink#links-1.0"
    answers = {
        "sia": found(whole),
        "direct": found(whole, more=descriptor("/sync")),
        "linked": found(whole, more=descriptor("/links", standard)),
        "links": links(descriptor("/sync")),
        "sync": CUT,
    }
    with answering(answers).running() as service:
        for number, (place, count, more) in enumerate(
            [
                ("direct", 2, {}),
                ("linked", 3, {}),
                ("sia", 2, {"soda_endpoint": f"http://localhost:{service.port}/sync"}),
            ]
        ):
            before = len(service.asked)
            given = {"endpoint": f"{service.endpoint}/{place}", "save_dir": str(tmp_path / str(number))}
            fetch(options(tmp_path, service, **given, **more))
            assert len(service.asked) - before == count
            assert service.asked[-1][1]["ID"] in ("ivo://o/1", "row")


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE VOTABLE [<!ENTITY x SYSTEM "file:///etc/passwd">]><VOTABLE>&x;</VOTABLE>'
)
ELSEWHERE = (
    f'{HEAD}<RESOURCE type="results"><TABLE><FIELD name="a" datatype="int"/><DATA><BINARY><STREAM '
    'href="http://127.0.0.1:1/x"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>'
).encode()
ONE = {"obs_publisher_did": "ivo://o/1"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (found(), "no image covers it: the service knows none there"),
        (found({"s_region": box(11, 0)}), "it lies outside of all 1 that the service found"),
        (
            found(status='<INFO name="QUERY_STATUS" value="ERROR">UsageFault: no such band</INFO>'),
            "the service says that the search failed: UsageFault: no such band",
        ),
        (found(ONE, after='<INFO name="QUERY_STATUS" value="OVERFLOW"/>'), "(OVERFLOW)"),
        (
            (400, {}, found(status='<INFO name="QUERY_STATUS" value="ERROR">bad</INFO>')),
            "HTTP 400 Bad Request: bad",
        ),
        (found({**ONE, "access_format": "image/fits", "access_url": "/a.fits"}), "cut from it with --mosaic"),
        (
            found({**ONE, "access_url": "https://example.org/l"}),
            "sent on to https://example.org, which is not",
        ),
        (found({**ONE, "access_url": "file:///etc/passwd"}), "sent on to file://"),
        (b"<html><h1>Sorry</h1><br></html>", "no VOTable, but it says: Sorry"),
        (BOMB, "declares the entity 'x'"),
        (ELSEWHERE, "its data lie elsewhere"),
        (b"", "no VOTable"),
        ((200, {"Content-Length": str(2**25)}, b""), "too large"),
    ],
)
def test_what_gives_no_image_is_a_failure_with_its_reason(tmp_path, answer, reason):
    said, asked = reason_of(tmp_path, {"sia": answer})
    assert reason in said
    assert set(asked) == {"/sia"}


def test_a_token_that_is_said_back_is_written_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SKY_TOKEN", "sesame-of-a-test")
    status = '<INFO name="QUERY_STATUS" value="ERROR">sesame-of-a-test is not good here</INFO>'
    for answers in (
        {"sia": found(status=status)},
        {
            "sia": found(ONE),
            "links": links(descriptor("/sync")),
            "sync": b"<p>sesame-of-a-test is not good here",
        },
    ):
        said, _ = reason_of(tmp_path, answers, token_env="SKY_TOKEN")
        assert "… is not good here" in said
        for path in (tmp_path / "images").rglob("*"):
            assert path.is_dir() or b"sesame-of" not in path.read_bytes()


def test_links_that_lead_nowhere_are_a_failure_with_its_reason(tmp_path):
    asynchronous = descriptor("/async", "ivo://ivoa.net/std/SODA#async-1.0")
    for page, reason in (
        (links(asynchronous, error="NotFoundFault: gone"), "among its links, which say: NotFoundFault: gone"),
        (
            links(descriptor("https://example.org/sync")),
            "sent on to https://example.org, which is not allowed",
        ),
        (links(descriptor("http://user@127.0.0.1:1/sync")), "sent on to http://127.0.0.1, which is not"),
        (b"\x89PNG", "no VOTable"),
    ):
        said, asked = reason_of(tmp_path, {"sia": found(ONE), "links": page})
        assert reason in said
        assert asked == ["/sia", "/links"]


def test_what_was_searched_is_not_searched_again_unless_it_gave_no_image(tmp_path):
    answers = {
        "sia": found(ONE),
        "links": links(descriptor("/sync")),
        "sync": (503, {"Retry-After": "0"}, b""),
    }
    with answering(answers).running() as service:
        for outcome in ((503, {}, b""), (410, {}, b"it is gone"), CUT):
            answers["sync"] = outcome
            given = options(tmp_path, service, retries=0)
            if outcome is CUT:
                assert fetch(given).table["cutout_dataset"].tolist() == ["ivo://o/1"]
            else:
                with pytest.raises(ServiceError, match="of ivo://o/1: HTTP"):
                    fetch(given)
        places = [path for path, _, _ in service.asked]
        assert places == ["/sia", "/links", "/sync", "/sync", "/sia", "/links", "/sync"]
        # a kill between an image and its line in the record
        (tmp_path / "images" / "fetched.jsonl").unlink()
        again = fetch(given)
        assert (again.before, again.table["cutout_dataset"].tolist()) == (1, ["ivo://o/1"])
        # a record of searches that another wrote leads nowhere else
        journal = tmp_path / "images" / "searched.jsonl"
        line = json.loads(journal.read_text().splitlines()[-1]) | {"url": "https://example.org/x"}
        journal.write_text(f"not json\n[]\n{json.dumps(line)}\n")
        (tmp_path / "images" / "fetched.jsonl").unlink()
        next((tmp_path / "images" / "cutouts").glob("*.fits")).unlink()
        with pytest.raises(ServiceError, match=r"https://example.org, which is not allowed"):
            fetch(given)
        assert len(service.asked) == 7


@pytest.mark.parametrize(
    ("region", "edge"),
    [
        ("Polygon ICRS 359 -1 1 -1 1 1 359 1", 1.0),
        ("POLYGON J2000 1 1 1 -1 359 -1 359 1", 1.0),
        ("359 -1 1 -1 1 1 359 1", 1.0),
        ("polygon 2 -1 4 -1 4 1 2 1", -2.0),
        ("Circle ICRS 0.5 0 2", 1.5),
        ("0 0 0.25", 0.25),
        ("CIRCLE ICRS 180 0 2", -180.0),
        ("POLYGON ICRS 90 0 180 0 180 80", None),
        ("POLYGON GALACTIC 1 2 3 4 5 6", None),
        ("UNION ICRS ( CIRCLE 1 2 3 CIRCLE 4 5 6 )", None),
        ("1 2 NaN NaN 3 4", None),
        ("1 2 3 4", None),
        ("", None),
    ],
)
def test_regions_tell_how_far_their_edge_is(region, edge):
    assert region_edge(region, 0.0, 0.0) == (None if edge is None else pytest.approx(edge, abs=1e-3))


def test_regions_at_a_pole_and_as_arrays(tmp_path):
    assert region_edge("POLYGON ICRS 0 89 90 89 180 89 270 89", 45.0, 90.0) == pytest.approx(0.707, abs=1e-3)
    numbers = {"s_region": 'datatype="double" arraysize="*" xtype="polygon"'}
    images = [
        {"obs_publisher_did": "far", "s_region": box(11, 0).removeprefix("POLYGON ICRS ")},
        {"obs_publisher_did": "field", "s_region": "", "s_ra": 10.01, "s_dec": 0, "s_fov": 0.5},
        {"obs_publisher_did": "here", "s_region": box(10, 0).removeprefix("POLYGON ICRS ")},
    ]
    answers = {"sia": found(*images, **numbers), "links": links(descriptor("/sync")), "sync": CUT}
    with answering(answers).running() as service:
        result = fetch(options(tmp_path, service))
    assert result.table["cutout_dataset"].tolist() == ["field"]
    assert result.table["cutout_edge_arcsec"].tolist() == pytest.approx([864], abs=0.1)
    assert "without --band" in result.report()


def test_an_answer_that_would_fill_the_memory_is_none():
    many = (
        HEAD
        + '<RESOURCE type="results"><TABLE nrows="99999999999"><FIELD name="a" datatype="double"/></TABLE>'
    )
    with pytest.raises(NoImage, match="more than an honest table would"):
        read_answer(f"{many}</RESOURCE></VOTABLE>".encode())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"endpoint": None}, "--survey sia2 needs the service's address"),
        ({"survey": "soda", "band": "1e-6"}, "are for --survey sia2"),
        ({"image_format": "jpg"}, "sia2 gives fits"),
        ({"dataset": "x"}, "are for --survey soda"),
        ({"soda_endpoint": "ftp://x"}, "--soda-endpoint must begin with https"),
        ({"calib_level": 5}, "calib_level"),
    ],
)
def test_options_that_can_not_work_are_refused(tmp_path, more, message):
    with pytest.raises(ConfigError) as refused:
        options(tmp_path, SimpleNamespace(endpoint="http://127.0.0.1:1"), **more)
    assert message.replace("_", "-") in str(refused.value).replace("_", "-")
