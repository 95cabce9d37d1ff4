"""Galaxies are as strange, and as interesting, by the features of either engine."""

import numpy as np
import pytest

from zoobot.rating.session import RatingSession
from zoobot.shared.features.anomalies import METHODS, score_anomalies


@pytest.fixture(scope="module")
def encoded(both_engines, make_model, catalog_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "regression"
    both_engines["pytorch"].checkpoint.save(make_model(both_engines["pytorch"], "regression"), folder)
    return [
        engine.represent.represent(catalog_path, engine.checkpoint.load(folder), progress=False)
        for engine in both_engines.values()
    ]


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_the_same(encoded, method):
    first, second = (score_anomalies(one.ids, one.features, method=method) for one in encoded)
    assert np.ptp(first) > 0.01
    np.testing.assert_allclose(first, second, atol=1e-3)
    assert np.argmax(first) == np.argmax(second)


def test_rankings_are_the_same(encoded, tmp_path):
    ratings = {galaxy: 5.0 * (row % 3 == 0) for row, galaxy in enumerate(encoded[0].ids[:10])}
    ranked = []
    for name, one in zip("ab", encoded, strict=True):
        session = RatingSession.start(tmp_path / name, one.ids, one.features)
        session.rate(ratings)
        ranked.append(session.ranking().set_index("id_str"))
    np.testing.assert_allclose(
        ranked[0]["expected"].sort_index(), ranked[1]["expected"].sort_index(), atol=0.01
    )
