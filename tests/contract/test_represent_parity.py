"""Features, heads fitted to them, and what is chosen by them are the same in both engines."""

import numpy as np
import pytest

from zoobot.choosing.acquisition import score_galaxies

LABELS = {
    "classification": np.arange(24)[:, None] % 2,
    "multi-label": np.stack([np.arange(24) % 2, np.arange(24) % 3 == 0], axis=1),
    "regression": np.stack([np.arange(24) / 3, np.cos(np.arange(24))], axis=1),
    "tree": np.stack([np.arange(24) % 5, np.arange(24) % 7, np.arange(24) % 3, np.full(24, 2)], axis=1),
}


@pytest.fixture(scope="module")
def encoded(both_engines, make_model, catalog_path, tmp_path_factory):
    """Per kind: each engine's model of one checkpoint, and its features of the same galaxies."""

    def get(kind):
        folder = tmp_path_factory.mktemp("models") / kind
        first = make_model(both_engines["pytorch"], kind)
        both_engines["pytorch"].checkpoint.save(first, folder)
        models = {name: engine.checkpoint.load(folder) for name, engine in both_engines.items()}
        return {
            name: (model, both_engines[name].represent.represent(catalog_path, model, progress=False))
            for name, model in models.items()
        }

    return get


@pytest.mark.parametrize("kind", list(LABELS))
def test_features_and_fitted_heads_are_the_same(both_engines, encoded, kind):
    (first, ours), (second, theirs) = encoded(kind).values()
    assert ours.ids == theirs.ids
    assert ours.origin == theirs.origin  # the same model by its hash, block, pixels and catalog
    assert np.ptp(ours.features, axis=0).max() > 1e-3
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-4)
    predicted = []
    for engine, model in zip(both_engines.values(), (first, second), strict=True):
        # the same features, so that only heads could differ
        engine.represent.fit_head(ours.features, LABELS[kind].astype(float), model, decay=0.3)
        predicted.append(engine.represent.predict_features(ours.features, model)[0])
    assert np.ptp(predicted[0], axis=0).max() > 1e-2
    np.testing.assert_allclose(predicted[0], predicted[1], rtol=5e-3, atol=5e-3)
    scores = [score_galaxies(first.task, [one, one[::-1]]).score for one in predicted]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.05, atol=5e-3)


@pytest.mark.parametrize("kind", ["classification", "tree"])
def test_views_are_the_same(kind, twins, both_engines, catalog_path):
    models = twins(kind, preprocessing={"image_size_pix": 32, "views": 8})
    features, tables = zip(
        *(
            (
                both_engines[name].represent.represent(catalog_path, model, progress=False).features,
                both_engines[name].predict.predict(catalog_path, model, progress=False).table.iloc[:, 1:],
            )
            for name, model in models.items()
        ),
        strict=True,
    )
    np.testing.assert_allclose(features[0], features[1], atol=1e-4)
    np.testing.assert_allclose(tables[0], tables[1], rtol=1e-4, atol=1e-4)
    assert tables[0].std().max() > 1e-4
