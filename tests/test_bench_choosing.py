"""The benchmark of choosing for whole trees plays on made-up features, and its gain is what it says."""

import json
import sys

import numpy as np
import pytest


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("bench_choosing")


@pytest.fixture
def galaxies(bench):
    """Features, and votes that depend on them."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6))
    outputs = features @ rng.normal(0, 0.5, (6, len(bench.SCHEMA.label_cols))) - 3
    fractions = bench.concentrations_of(outputs)
    votes = np.concatenate(
        [
            rng.multinomial(20, part / part.sum(axis=1, keepdims=True))
            for part in (fractions[:, own] for own in bench.SCHEMA.question_slices)
        ],
        axis=1,
    )
    return features, votes.astype(float)


def test_a_quick_game_leaves_figures_and_is_not_played_twice(bench, galaxies, tmp_path, monkeypatch, capsys):
    features, labels = galaxies
    np.savez(tmp_path / "tiny.npz", features=features, labels=labels)
    words = ["bench_choosing.py", "--data", str(tmp_path), "--work", str(tmp_path), "--quick"]
    words += ["--encoders", "tiny", "--json", str(tmp_path / "choosing.json"), "--draws", "1"]
    words += ["--ways", "random", "bald", "random+clusters", "gain"]
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    found = json.loads((tmp_path / "choosing.json").read_text())["results"]["tiny"]
    assert set(found) == {"random", "bald", "random+clusters", "gain"}
    assert all(one["nll"]["to_random"] == 0 for one in found["random"].values())
    assert found["bald"]["6"]["nll"]["to_random"] == 0  # the start is shared
    assert found["gain"]["9"]["votes"] > 100
    assert "| random+clusters | +0.00 |" in capsys.readouterr().out
    played = (tmp_path / "tiny.jsonl").read_text()
    bench.main()
    assert (tmp_path / "tiny.jsonl").read_text() == played


def test_the_gain_is_the_fall_of_the_expected_loss_worked_out_anew_for_every_galaxy(
    bench, galaxies, monkeypatch
):
    features, labels = galaxies
    rng = np.random.default_rng(1)
    answers = len(bench.SCHEMA.label_cols)
    slopes = rng.gamma(2.0, 20.0, (len(features), answers))
    monkeypatch.setattr(bench, "expected_squared_slopes", lambda outputs, rng: slopes)
    monkeypatch.setattr(bench, "DECAY", 30.0)
    bought = np.arange(5)
    now = bench.Round(features, features, labels, bought, np.zeros((answers, 6)), np.zeros(answers), rng)
    fisher = np.stack([slopes[:, part].mean(axis=1) for part in bench.SCHEMA.question_slices])
    fisher = 0.7 * fisher + 0.3 * fisher.mean(axis=1, keepdims=True)
    phi = np.column_stack([features, np.ones(len(features))])
    prior = np.diag([30.0] * 6 + [0.03])

    def loss(known):
        """Half of it is the expected loss of the pool that is due to what is not known of the weights."""
        total = 0.0
        for own in fisher:
            posterior = np.linalg.inv(prior + (phi[known] * own[known, None]).T @ phi[known])
            total += (own * np.einsum("gf,fh,gh->g", phi, posterior, phi)).mean()
        return total

    expected = list(bought)
    for _ in range(3):
        left = [row for row in range(len(features)) if row not in expected]
        expected.append(min(left, key=lambda row: loss([*expected, row])))
    assert bench.by_gain(now, 3).tolist() == expected[5:]
