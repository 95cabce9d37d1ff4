"""Standardised features and principal components, against scikit-learn, saved and used again."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.features.projections import FeatureMoments, Projection, fit_projection


@pytest.fixture(scope="module")
def features():
    """Correlated features of very different means and spreads; the last one is constant."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 12)) + 0.1 * rng.normal(size=(500, 12))
    values = mixed * np.logspace(-2, 2, 12) + np.linspace(-1000, 1000, 12)
    return np.column_stack([values, np.full(500, 3.0)]).astype(np.float32)


def pieces(features, sizes=(1, 99, 0, 300, 100)):
    return np.split(features, np.cumsum(sizes)[:-1])


def test_moments_in_pieces_are_those_of_the_whole(features):
    moments = FeatureMoments(features.shape[1])
    for piece in pieces(features):
        moments.add(piece)
    exact = features.astype(np.float64)
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance(), np.cov(exact.T), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(moments.spread(), exact.std(axis=0, ddof=1), rtol=1e-10)
    with pytest.raises(ConfigError, match="two galaxies"):
        FeatureMoments(3).covariance()


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("standardise", [False, True])
def test_components_are_those_of_scikit_learn(features, standardise, whiten):
    ours = fit_projection(pieces(features), components=4, standardise=standardise, whiten=whiten)
    exact = features.astype(np.float64)
    if standardise:
        exact = StandardScaler().fit_transform(exact) * np.sqrt(499 / 500)  # it divides by n, not n - 1
    oracle = PCA(4, whiten=whiten, svd_solver="full").fit(exact)
    assert ours.explained == pytest.approx(oracle.explained_variance_ratio_.sum())
    np.testing.assert_allclose(ours.variances, oracle.explained_variance_, rtol=1e-6)
    theirs, found = oracle.transform(exact), ours.apply(features)
    signs = np.sign((theirs * found).sum(axis=0))
    np.testing.assert_allclose(found, theirs * signs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


def test_standardised_features_have_unit_spread_and_constant_ones_are_zero(features):
    ours = fit_projection(pieces(features)).apply(features)
    np.testing.assert_allclose(ours[:, :-1].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(ours[:, :-1].std(axis=0, ddof=1), 1, rtol=1e-5)
    assert (ours[:, -1] == 0).all()


def test_a_projection_is_the_same_when_read_again(features, tmp_path):
    for options in ({}, {"components": 3, "whiten": True}):
        fitted = fit_projection(pieces(features), origin={"task": {"block": "stages.3"}}, **options)
        again = Projection.load(fitted.save(tmp_path / "p.safetensors"))
        np.testing.assert_array_equal(again.apply(features), fitted.apply(features))
        assert (again.origin, again.whiten, again.galaxies) == (fitted.origin, fitted.whiten, 500)
        assert again.output_columns == fitted.output_columns


def test_the_order_of_pieces_changes_no_sign(features):
    one = fit_projection([features], components=5)
    other = fit_projection(pieces(features)[::-1], components=5)
    np.testing.assert_allclose(one.components, other.components, atol=1e-7)


@pytest.mark.parametrize("components", [0, -1, 13, 14])
def test_only_directions_that_vary_are_kept(features, components):
    with pytest.raises(ConfigError, match="from 1 to 12"):
        fit_projection(pieces(features), components=components)


def test_fewer_components_do_where_galaxies_differ_in_fewer_directions(features):
    more = np.hstack([features, np.full((len(features), 2), 0.1, np.float32)])  # whose mean is rounded
    assert fit_projection([more], components=15, at_most=True).num_outputs == 12
    assert fit_projection([more], components=3, at_most=True).num_outputs == 3


def test_wrong_features_and_files_are_refused(features, tmp_path):
    fitted = fit_projection([features])
    with pytest.raises(ConfigError, match="another model or block"):
        fitted.apply(features[:, :5])
    with pytest.raises(ConfigError, match="there were none"):
        fit_projection([])
    with pytest.raises(CheckpointError):
        Projection.load(tmp_path / "absent.safetensors")
    path = fitted.save(tmp_path / "p.safetensors")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged"):
        Projection.load(path)
    from zoobot.shared.files.tensors import write_tensors

    write_tensors(path, {"mean": np.zeros(3), "scale": np.ones(2)}, metadata={"zoobot": '{"format": 1}'})
    with pytest.raises(CheckpointError, match="no projection"):
        Projection.load(path)
