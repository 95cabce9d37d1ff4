"""Decision trees from strangers' YAML, and the sums over random trees."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import yaml
from fuzz_inputs import (
    attempt,
    fresh_folder,
    fuzz,
    hostile_text,
    json_values,
    mutated,
    mutated_config,
    refused,
    write,
)
from hypothesis import strategies as st

from zoobot.shared import schemas
from zoobot.shared.schemas import Schema

CONFIGS = [schemas.get(name).to_config() for name in ("gz2", "gz_rings", "gz_candels")]
YAML_SEEDS = [yaml.safe_dump(config, sort_keys=False).encode() for config in CONFIGS]
NASTY_YAML = [
    b"name: x\nquestions: [[&a [boom], "
    + b", ".join(b"&a [%s]" % b", ".join([b"*a"] * 9) for _ in range(30))
    + b"]]",
    b"a: &a [x, x]\nb: &b [*a, *a]\n",
    b"name: !!python/object/apply:os.system [touch canary]\nquestions: []\n",
    b"<<: {name: x}\nquestions: []\n",
    b"name: &n [*n]\nquestions: *n\n",
    b"? {a: b}\n: c\n",
    b"[" * 200 + b"]" * 200,
    b"- " * 300,
    b"name: x\nname: y\nquestions: []\n",
    b"%YAML 9.9\n---\nname: x\n",
    b"--- a\n--- b\n",
]

names = st.one_of(
    st.text(min_size=1, max_size=6),
    st.sampled_from(["a", "_a", "__a", "a_b", "b", "no", "1", "~"]),
)


@st.composite
def trees(draw):
    """A random schema whose questions may have several parents, or the error that refused it."""
    texts = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    pairs, parents, above = {}, {}, []
    for text in texts:
        answers = draw(st.lists(names, min_size=1, max_size=4, unique=True))
        parents[text] = draw(st.lists(st.sampled_from(above), max_size=3, unique=True)) if above else []
        pairs[text] = answers
        above += [f"{text}_{answer.removeprefix('_')}" for answer in answers]
    campaigns = draw(st.sampled_from([None, dict.fromkeys(texts, "gz")]))
    return attempt(Schema.from_pairs, pairs, parents, name=draw(hostile_text), campaigns=campaigns)


@fuzz(80, schema=trees())
def test_a_tree_comes_back_from_yaml(schema):
    if refused(schema):
        return
    path = fresh_folder() / "tree.yaml"
    written = attempt(schema.to_yaml, path)
    if not refused(written):
        assert Schema.from_yaml(path) == schema
    assert Schema.from_config(schema.to_config()) == schema
    assert schema.draw().count("▸") >= len(schema.questions)


@fuzz(60, schema=trees(), draws=st.lists(st.integers(0, 8), min_size=20, max_size=20))
def test_probabilities_of_a_tree_are_those_of_exact_sums(schema, draws):
    if refused(schema):
        return
    fractions = []
    for question in schema.questions:
        votes = [draws[answer.index % 20] for answer in question.answers]
        fractions += [Fraction(v, sum(votes)) if sum(votes) else Fraction(1, len(votes)) for v in votes]
    asked = {}
    owner = {answer.label_col: answer for answer in schema.answers}
    for question in schema.questions:
        paths = [asked[owner[p].question] * fractions[owner[p].index] for p in question.parents]
        asked[question.text] = min(sum(paths, Fraction(0)), Fraction(1)) if paths else Fraction(1)
    values = np.array([[float(f) for f in fractions]])
    expected = [float(asked[question.text]) for question in schema.questions]
    np.testing.assert_allclose(schema.probability_asked(values)[0], expected, rtol=1e-12, atol=1e-14)
    joint = schema.joint_fractions(values)[0]
    sums = [joint[part].sum() for part in schema.question_slices]
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-14)
    covered = [i for part in schema.question_slices for i in range(part.start, part.stop)]
    assert covered == list(range(len(joint)))


@fuzz(80, config=mutated_config(CONFIGS))
def test_a_damaged_config_is_a_tree_or_refused(config):
    schema = attempt(Schema.from_config, config)
    assert refused(schema) or Schema.from_config(schema.to_config()) == schema


@fuzz(40, config=json_values)
def test_any_values_are_a_tree_or_refused(config):
    assert refused(attempt(Schema.from_config, config))


@fuzz(80, content=st.one_of(mutated(YAML_SEEDS), mutated(NASTY_YAML), st.binary(max_size=60)))
def test_a_damaged_yaml_file_is_a_tree_or_refused(content):
    schema = attempt(Schema.from_yaml, write("tree.yaml", content))
    assert refused(schema) or isinstance(schema, Schema)
