import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoobot.shared import schemas
from zoobot.shared.errors import LabelError, SchemaError
from zoobot.shared.schemas import Answer, Question, Schema

PAIRS = {
    "smooth-or-featured": ["_smooth", "_featured", "_artifact"],
    "edge-on": ["_yes", "_no"],
    "bar": ["_yes", "_no"],
    "merging": ["_yes", "_no"],
}
DEPENDENCIES = {
    "smooth-or-featured": None,
    "edge-on": "smooth-or-featured_featured",
    "bar": "edge-on_no",
    "merging": ["smooth-or-featured_smooth", "smooth-or-featured_featured"],
}


@pytest.fixture
def schema():
    return Schema.from_pairs(PAIRS, DEPENDENCIES, name="small")


def test_answers_stand_in_order_with_or_without_underscores(schema):
    assert schema.label_cols == [
        "smooth-or-featured_smooth",
        "smooth-or-featured_featured",
        "smooth-or-featured_artifact",
        "edge-on_yes",
        "edge-on_no",
        "bar_yes",
        "bar_no",
        "merging_yes",
        "merging_no",
    ]
    without = {question: [answer[1:] for answer in answers] for question, answers in PAIRS.items()}
    assert Schema.from_pairs(without, DEPENDENCIES, name="small") == schema
    assert schema.question_slices == [slice(0, 3), slice(3, 5), slice(5, 7), slice(7, 9)]
    assert [answer.index for answer in schema.answers] == list(range(9))


def test_lookups_take_questions_and_label_columns(schema):
    assert schema.get_question("edge-on").label_cols == ["edge-on_yes", "edge-on_no"]
    assert schema.get_question("bar_no").text == "bar"
    assert schema.get_answer("bar_no") == Answer("bar", "no", 6)
    assert schema.get_question("smooth-or-featured").pretty == "Smooth or featured"
    assert schema.get_answer("smooth-or-featured_featured").pretty == "Featured"
    with pytest.raises(SchemaError, match=r"no question .*'edge_on'.*near names: \['edge-on'"):
        schema.get_question("edge_on")
    with pytest.raises(SchemaError, match=r"no answer .*'bar_maybe'.*bar_"):
        schema.get_answer("bar_maybe")


def test_a_schema_cannot_change_and_can_be_hashed_and_pickled(schema):
    with pytest.raises(AttributeError):
        schema.name = "other"
    assert len({schema, Schema.from_pairs(PAIRS, DEPENDENCIES, name="small")}) == 1
    assert pickle.loads(pickle.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("pairs", "dependencies", "words"),
    [
        ({}, {}, "no questions"),
        ({"bar": []}, {}, "'bar' has no answers"),
        ({"bar": ["yes", "yes"]}, {}, r"label column \['bar_yes'\] given more than once"),
        ({"a": ["b_c"], "a_b": ["c"]}, {}, r"label column \['a_b_c'\] given more than once"),
        ({"bar": ["_"]}, {}, "empty text"),
        ({"": ["yes"]}, {}, "empty text"),
        ({"bar": "yes"}, {}, "must be a list of texts, got 'yes'"),
        ({"arms": [1, 2]}, {}, r"must be a list of texts, got \[1, 2\]"),
        ({"a": ["x"], "b": ["y"]}, {"b": "a_z"}, "named as parent of 'b', is called 'a_z'"),
        ({"a": ["x"], "b": ["y"]}, {"b": ["a_x", "a_x"]}, "repeats a parent"),
        ({"a": ["x"]}, {"a": "a_x"}, "circle: a → a"),
        ({"a": ["x"], "b": ["y"], "c": ["z"]}, {"a": "c_z", "b": "a_x", "c": "b_y"}, "in a circle: "),
        ({"a": ["x"], "b": ["y"]}, {"bb": "a_x"}, r"dependencies name \['bb'\].*questions \['a', 'b'\]"),
    ],
)
def test_malformed_trees_are_refused(pairs, dependencies, words):
    with pytest.raises(SchemaError, match=words):
        Schema.from_pairs(pairs, dependencies)


def test_public_dependencies_with_entries_for_other_campaigns_are_accepted(schema):
    more = DEPENDENCIES | {"edge-on-bulge": "edge-on_yes"}
    assert Schema.from_pairs(PAIRS, more, name="small") == schema


def test_direct_construction_is_checked_too():
    yes = Answer("bar", "yes", 0)
    with pytest.raises(SchemaError, match=r"question \['bar'\] given more than once"):
        Schema("x", (Question("bar", (yes,)), Question("bar", (Answer("bar", "no", 1),))))
    with pytest.raises(SchemaError, match=r"count up from 0, got \[1\]"):
        Schema("x", (Question("bar", (Answer("bar", "yes", 1),)),))
    with pytest.raises(SchemaError, match="answer to another question"):
        Schema("x", (Question("ring", (yes,)),))


def test_probability_asked_follows_every_path(schema):
    fractions = [0.6, 0.3, 0.1, 0.2, 0.8, 0.5, 0.5, 0.25, 0.75]
    np.testing.assert_allclose(schema.probability_asked([fractions]), [[1, 0.3, 0.24, 0.9]], rtol=1e-12)
    np.testing.assert_allclose(schema.joint_p([fractions], "bar_yes"), [0.12], rtol=1e-12)
    np.testing.assert_allclose(schema.joint_p([fractions], "merging_no"), [0.675], rtol=1e-12)
    # any leading axes: samples of galaxies
    stack = np.broadcast_to(fractions, (5, 2, 9))
    assert schema.probability_asked(stack).shape == (5, 2, 4)
    np.testing.assert_array_equal(schema.joint_fractions(stack)[3, 1], schema.joint_fractions([fractions])[0])


def test_questions_may_come_before_their_parents_in_label_order():
    pairs = {"bar": ["yes", "no"], "featured": ["yes", "no"]}
    schema = Schema.from_pairs(pairs, {"bar": "featured_yes"})
    np.testing.assert_allclose(schema.probability_asked([[0.5, 0.5, 0.25, 0.75]]), [[0.25, 1.0]])


def test_a_sum_of_paths_that_overlap_is_capped_at_one():
    pairs = {"a": ["x", "y"], "b": ["x", "y"], "c": ["x"]}
    schema = Schema.from_pairs(pairs, {"c": ["a_x", "b_x"]})
    assert schema.probability_asked([[0.8, 0.2, 0.7, 0.3, 1.0]])[0, 2] == 1.0


def test_an_unknown_fraction_matters_only_where_its_question_can_be_asked(schema):
    nan = np.nan
    all_smooth = [1.0, 0.0, 0.0, nan, nan, nan, nan, 0.5, 0.5]
    np.testing.assert_array_equal(schema.probability_asked([all_smooth]), [[1, 0, 0, 1]])
    np.testing.assert_array_equal(schema.joint_fractions([all_smooth])[0, 3:7], np.zeros(4))
    unknown = [0.5, 0.5, 0.0, nan, nan, 0.5, 0.5, 0.5, 0.5]
    np.testing.assert_array_equal(schema.probability_asked([unknown]), [[1, 0.5, nan, 1]])


def test_probabilities_agree_with_volunteers_walking_the_tree(schema):
    rng = np.random.default_rng(7)
    fractions = np.concatenate([rng.dirichlet(np.ones(len(q.answers))) for q in schema.questions])
    n_volunteers = 40_000
    asked = np.zeros(len(schema.questions))
    answered = {}
    for place, question in enumerate(schema.questions):  # parents come first in this tree
        reached = np.ones(n_volunteers, dtype=bool)
        if question.parents:
            reached = np.any([answered[parent] for parent in question.parents], axis=0)
        choice = rng.choice(len(question.answers), n_volunteers, p=fractions[question.slice])
        for i, answer in enumerate(question.answers):
            answered[answer.label_col] = reached & (choice == i)
        asked[place] = reached.mean()
    np.testing.assert_allclose(schema.probability_asked([fractions])[0], asked, atol=0.01)
    walked = [answered[col].mean() for col in schema.label_cols]
    np.testing.assert_allclose(schema.joint_fractions([fractions])[0], walked, atol=0.01)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(schemas.names()),
    legacy=st.booleans(),
    data=st.data(),
)
def test_joint_fractions_of_a_question_add_up_to_its_probability(name, legacy, data):
    schema = schemas.get(name, legacy=legacy)
    raw = data.draw(arrays(np.float64, (2, len(schema.answers)), elements=st.floats(0.01, 1)))
    sums = np.add.reduceat(raw, [part.start for part in schema.question_slices], axis=1)
    fractions = raw / np.repeat(sums, [len(q.answers) for q in schema.questions], axis=1)
    asked, joint = schema.probability_asked(fractions), schema.joint_fractions(fractions)
    assert asked.min() >= 0
    assert asked.max() <= 1
    for place, question in enumerate(schema.questions):
        np.testing.assert_allclose(joint[:, question.slice].sum(axis=1), asked[:, place], rtol=1e-12)
        if question.parents:
            led_here = sum(joint[:, schema.get_answer(parent).index] for parent in question.parents)
            np.testing.assert_allclose(asked[:, place], np.minimum(led_here, 1), rtol=1e-12)
        else:
            assert (asked[:, place] == 1).all()


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        (np.zeros((2, 8)), r"shape \(galaxies, 9\) for schema 'small', got \(2, 8\)"),
        (0.5, r"got \(\)"),
        (np.full((1, 9), 12.0), r"lie in \[0, 1\], got .*12.* votes.fractions_from_votes"),
        (np.full((1, 9), -0.1), "lie in"),
    ],
)
def test_fractions_that_are_not_fractions_are_refused(schema, fractions, words):
    with pytest.raises(LabelError, match=words):
        schema.probability_asked(fractions)


@pytest.mark.parametrize("name", schemas.names())
def test_configs_and_yaml_give_the_same_schema_back(name, tmp_path):
    schema = schemas.get(name)
    assert Schema.from_config(json.loads(json.dumps(schema.to_config()))) == schema
    schema.to_yaml(tmp_path / "tree.yaml")
    assert Schema.from_yaml(tmp_path / "tree.yaml") == schema


def test_yaml_words_need_no_quotes(tmp_path):
    file = tmp_path / "rings.yaml"
    file.write_text(
        "name: rings\n"
        "questions:\n"
        "  - question: ring\n"
        "    answers: [yes, no]\n"
        "  - question: ring-count\n"
        "    answers: [1, 2, more]\n"
        "    parents: ring_yes\n"
    )
    schema = Schema.from_yaml(file)
    assert schema.label_cols == ["ring_yes", "ring_no", "ring-count_1", "ring-count_2", "ring-count_more"]
    assert schema.get_question("ring-count").parents == ("ring_yes",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [unclosed", "not valid YAML"),
        ("- a\n- b\n", "must hold 'name' and 'questions'"),
        ("", "must hold 'name' and 'questions'"),
        ("name: x\n", r"must hold \['name', 'questions'\].*got \['name'\]"),
        ("name: x\nquestions: none\n", "'questions' must be a list of questions, got 'none'"),
        ("name: x\nquestions: [bar]\n", "question 1 must hold .* got 'bar'"),
        ("name: x\nquestions:\n- {question: bar}\n", r"question 1 must hold .*got \['question'\]"),
        ("name: x\nquestions:\n- {question: bar, answers: [a], parent: b}\n", "got .*'parent'"),
        ("name: x\nquestions:\n- {question: bar, answers: {a: b}}\n", r"'bar'\): 'answers' must be a list"),
        ("name: x\nquestions:\n- {question: bar, answers: [a], parents: [bar_b]}\n", "'bar_b'"),
        (
            "name: x\nquestions:\n- {question: b, answers: [a]}\n- {question: b, answers: [c]}\n",
            "more than once",
        ),
    ],
)
def test_malformed_yaml_names_the_file_and_the_fault(text, words, tmp_path):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(SchemaError, match=r"broken\.yaml"):
        Schema.from_yaml(file)
    with pytest.raises(SchemaError, match=words):
        Schema.from_yaml(file)


def test_yaml_that_cannot_be_read_names_the_file(tmp_path):
    with pytest.raises(SchemaError, match=r"can't read .*nowhere.yaml"):
        Schema.from_yaml(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SchemaError, match=r"latin.yaml is not valid YAML"):
        Schema.from_yaml(tmp_path / "latin.yaml")


def test_yaml_never_runs_code(tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text(f"name: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'made'}]\nquestions: []\n")
    with pytest.raises(SchemaError):
        Schema.from_yaml(file)
    assert not (tmp_path / "made").exists()


def test_config_values_must_be_text():
    with pytest.raises(SchemaError, match="'name' must be text, got 3"):
        Schema.from_config({"name": 3, "questions": []})
    with pytest.raises(SchemaError, match=r"must be a list of texts, got \[True, False\]"):
        Schema.from_config({"name": "x", "questions": [{"question": "bar", "answers": [True, False]}]})
    with pytest.raises(SchemaError, match="'question' must be text"):
        Schema.from_config({"name": "x", "questions": [{"question": 1, "answers": ["a"]}]})


def test_the_drawing_shows_what_each_answer_leads_to(schema):
    assert schema.draw().splitlines() == [
        "small (4 questions, 9 answers)",
        "▸ smooth-or-featured",
        "├─ smooth",
        "│  ▸ merging: yes · no",
        "├─ featured",
        "│  ▸ edge-on",
        "│  ├─ yes",
        "│  └─ no",
        "│     ▸ bar: yes · no",
        "│  ▸ merging (as above)",
        "└─ artifact",
    ]


@pytest.mark.parametrize("name", schemas.names())
def test_every_question_is_drawn_in_full_once(name):
    schema = schemas.get(name)
    lines = [line.strip("│ ") for line in schema.draw().splitlines()]
    for question in schema.questions:
        full = [
            line for line in lines if line == f"▸ {question.text}" or line.startswith(f"▸ {question.text}: ")
        ]
        assert len(full) == 1
        assert lines.count(f"▸ {question.text} (as above)") == max(len(question.parents) - 1, 0)


@pytest.mark.parametrize("answer", ["__strong", "___strong", "\x85", "\u2028odd", " a", "~", "\x00"])
def test_odd_answers_come_back_from_yaml(tmp_path, answer):
    schema = Schema.from_pairs({"bar": [answer, "no"]})
    schema.to_yaml(tmp_path / "tree.yaml")
    assert Schema.from_yaml(tmp_path / "tree.yaml") == schema


def test_a_key_given_twice_in_yaml_is_refused(tmp_path):
    text = "name: x\nquestions:\n- {question: a, answers: ['yes', 'no'], answers: [left, right]}\n"
    (tmp_path / "tree.yaml").write_text(text)
    with pytest.raises(
        SchemaError, match=r"given more than once; the keys are \['question', 'answers', 'answers'\]"
    ):
        Schema.from_yaml(tmp_path / "tree.yaml")


def test_a_bomb_of_yaml_aliases_is_refused_in_a_short_message(tmp_path):
    bomb = ", ".join(f"&a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
    (tmp_path / "tree.yaml").write_text(f"name: x\nquestions: [[&a0 [boom], {bomb}]]")
    with pytest.raises(SchemaError) as caught:
        Schema.from_yaml(tmp_path / "tree.yaml")
    assert len(str(caught.value)) < 1000


def test_yaml_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "tree.yaml").write_text("[" * 20_000)
    with pytest.raises(SchemaError, match="nested too deeply"):
        Schema.from_yaml(tmp_path / "tree.yaml")


def test_a_tree_deeper_than_the_stack_is_checked_and_drawn():
    pairs = {f"q{i}": ["yes", "no"] for i in range(3000)}
    schema = Schema.from_pairs(pairs, {f"q{i}": f"q{i - 1}_yes" for i in range(1, 3000)})
    assert schema.probability_asked(np.ones((1, 6000))).tolist() == [[1.0] * 3000]
    assert schema.draw().count("▸") == 3000
