"""Workflows of the Zooniverse as trees, and its exports as votes, in the forms in which they are given."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.shared.catalog import read_catalog
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import CatalogError, ConfigError, SchemaError
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import TreeTask
from zoobot.workflow import VotesOptions
from zoobot.zooniverse.workflows import Naming, read_workflow

TASKS = {
    "T0": {
        "type": "single",
        "question": "T0.question",
        "help": "T0.help",
        "required": "true",
        "answers": [
            {"next": "T1", "label": "T0.answers.0.label"},
            {"next": "T9", "label": "T0.answers.1.label"},
            {"label": "T0.answers.2.label"},
        ],
    },
    "T1": {
        "type": "single",
        "question": "T1.question",
        "answers": [
            {"next": "T5", "label": "T1.answers.0.label"},
            {"next": "T5", "label": "T1.answers.1.label"},
        ],
    },
    "T9": {"type": "drawing", "instruction": "T9.instruction", "tools": [], "next": "T3"},
    "T3": {
        "type": "single",
        "question": "T3.question",
        "answers": [
            {"next": "T5", "label": "T3.answers.0.label"},
            {"next": "T5", "label": "T3.answers.1.label"},
        ],
    },
    "T5": {"type": "multiple", "question": "T5.question", "answers": [{"label": "T5.answers.0.label"}]},
}
STRINGS = {
    "T0.question": "Is the galaxy **smooth**, or does it have features?",
    "T0.answers.0.label": "Smooth ![smooth](https://panoptes-uploads.zooniverse.org/smooth.png)",
    "T0.answers.1.label": "Features or Disk",
    "T0.answers.2.label": "Star or Artifact",
    "T1.question": "How rounded is it?",
    "T1.answers.0.label": "Round",
    "T1.answers.1.label": "In between",
    "T9.instruction": "Mark the arms",
    "T3.question": "Is there a bar?",
    "T3.answers.0.label": "Yes",
    "T3.answers.1.label": "No",
    "T5.question": "Anything odd?",
    "T5.answers.0.label": "Ring",
}
EXTRACTOR = {
    "data_release_suffix": "mine",
    "task_key_label_prefixes": {"T0": "smooth-or-featured", "T1": "how-rounded", "T3": "bar"},
    "task_key_data_labels": {
        "T0": {"0": "smooth", "1": "featured-or-disk", "2": "artifact"},
        "T1": {"0": "round", "1": "in-between"},
        "T3": {"0": "yes", "1": "no"},
    },
}
COLUMNS = [
    "smooth-or-featured-mine_smooth",
    "smooth-or-featured-mine_featured-or-disk",
    "smooth-or-featured-mine_artifact",
    "how-rounded-mine_round",
    "how-rounded-mine_in-between",
    "bar-mine_yes",
    "bar-mine_no",
]


@pytest.fixture
def asked(tmp_path):
    """The files that say what was asked: a workflow as the API gives it, and the names of its answers."""
    content = {"workflows": [{"id": "77", "display_name": "Shapes", "tasks": TASKS, "strings": STRINGS}]}
    (tmp_path / "workflow.json").write_text(json.dumps(content))
    (tmp_path / "extractor.json").write_text(json.dumps(EXTRACTOR))
    return {
        "workflow": str(tmp_path / "workflow.json"),
        "extractor": str(tmp_path / "extractor.json"),
        "save_loc": str(tmp_path / "votes.csv"),
    }


def classification(number, user, subject, answers, **changes):
    """A row of an export of classifications."""
    metadata = {"#id_str": f"0{subject}", "!hidden": "x"}
    about = {"retired": changes.pop("retired", None), "Filename": "a.png", **metadata}
    row = {
        "classification_id": 500_000 + number,
        "user_name": user,
        "user_id": "",
        "user_ip": "a1b2c3",
        "workflow_id": "77",
        "workflow_name": "Shapes",
        "workflow_version": "12.34",
        "created_at": f"2024-03-01 10:00:{number % 60:02} UTC",
        "gold_standard": "",
        "expert": "",
        "metadata": json.dumps({"source": "api", "session": "s", "viewport": {"width": 900}}),
        "annotations": json.dumps(
            [
                {"task": task, "task_label": STRINGS[f"{task}.question"], "value": v}
                for task, v in answers.items()
            ]
        ),
        "subject_data": json.dumps({str(subject): about}),
        "subject_ids": subject,
    }
    return row | changes


def write(tmp_path, rows):
    pd.DataFrame(rows).to_csv(tmp_path / "export.csv", index=False)
    return str(tmp_path / "export.csv")


SMOOTH, FEATURED = STRINGS["T0.answers.0.label"], "Features or Disk"


def test_a_workflow_is_a_tree_whose_other_tasks_are_led_through(asked):
    found = read_workflow(asked["workflow"])
    tree = found.schema(Naming.from_extractor(asked["extractor"]))
    assert tree.label_cols == COLUMNS
    assert tree.get_question("how-rounded-mine").parents == ("smooth-or-featured-mine_smooth",)
    assert tree.get_question("bar-mine").parents == ("smooth-or-featured-mine_featured-or-disk",)
    own = found.schema(found.naming())
    assert own.name == "shapes"
    assert own.questions[0].label_cols[0] == "is-the-galaxy-smooth-or-does-it-have-features_smooth"


def test_an_export_of_workflows_gives_the_newest_version(tmp_path, asked):
    old = {key: value for key, value in TASKS.items() if key == "T3"}
    rows = [
        {"workflow_id": i, "display_name": "Shapes", "version": v, "minor_version": m, "first_task": "T0"}
        | {"tasks": json.dumps(tasks), "strings": json.dumps(STRINGS)}
        for i, v, m, tasks in [
            ("77", 9, 99, old),
            ("77", 12, 34, TASKS),
            ("77", 12, 4, old),
            ("78", 1, 1, old),
        ]
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "workflows.csv", index=False)
    with pytest.raises(SchemaError, match=r"say which, with --workflow-id.*77.*78"):
        read_workflow(tmp_path / "workflows.csv")
    assert read_workflow(tmp_path / "workflows.csv", "77") == read_workflow(asked["workflow"]).__class__(
        "77", "Shapes", "T0", read_workflow(asked["workflow"]).tasks
    )


def test_a_tree_is_written_from_a_workflow(tmp_path, asked):
    file = tmp_path / "tree.yaml"
    options = {"from_workflow": asked["workflow"], "extractor": asked["extractor"], "yaml": str(file)}
    made = workflow.schemas(workflow.SchemasOptions(**options)).schema
    again = workflow.schemas(workflow.SchemasOptions(yaml=str(file))).schema
    assert again.label_cols == made.label_cols == COLUMNS
    with pytest.raises(ConfigError, match="leave out the name"):
        workflow.SchemasOptions(from_workflow=asked["workflow"], name="gz2")


def test_each_volunteer_counts_once_and_all_that_is_left_out_is_said(tmp_path, asked):
    rows = [
        classification(1, "ann", 11, {"T0": SMOOTH, "T1": "Round"}),
        classification(2, "not-logged-in-6f", 11, {"T0": FEATURED, "T3": "Yes", "T5": ["Ring"]}),
        classification(3, "ann", 11, {"T0": FEATURED}),
        classification(4, "bob", 12, {"T0": "Merger"}),
        classification(5, "ann", 12, {"T0": 2}),
        classification(6, "cleo", 12, {"T0": SMOOTH}, workflow_id="78"),
        classification(7, "cleo", 12, {"T0": None}, retired={"retired_at": "2024-02-01T00:00:00.000Z"}),
    ]
    result = workflow.votes(VotesOptions(export=write(tmp_path, rows), **asked))
    table = pd.read_csv(asked["save_loc"], dtype={"id_str": str})
    assert table["id_str"].tolist() == ["011", "012"]
    assert list(table.columns) == ["id_str", "subject_id", *COLUMNS]
    np.testing.assert_array_equal(table[COLUMNS], [[1, 1, 0, 1, 0, 1, 0], [0, 0, 1, 0, 0, 0, 0]])
    assert result.counted == 5
    assert result.left_out == {
        "of a volunteer who had classified the subject before": 1,
        "of another workflow": 1,
    }
    assert result.unknown == {"T0: Merger": 1}
    for words in ("5 classifications counted", "1 of another workflow", "1 × T0: Merger", "on 2 galaxies"):
        assert words in result.report()
    late = VotesOptions(export=str(tmp_path / "export.csv"), **asked, after_retirement=False, overwrite=True)
    assert workflow.votes(late).left_out["made after the subject was retired"] == 1


def test_volunteers_have_weights_and_old_versions_stay_out(tmp_path, asked):
    rows = [
        classification(1, "ann", 11, {"T0": SMOOTH}),
        classification(2, "bob", 11, {"T0": SMOOTH}),
        classification(3, "troll", 11, {"T0": FEATURED}),
        classification(4, "cleo", 11, {"T0": FEATURED}, workflow_version="3.1"),
    ]
    (tmp_path / "weights.csv").write_text("user_name,weight\nann,0.5\ntroll,0\n")
    options = {"user_weights": str(tmp_path / "weights.csv"), "first_version": 12}
    result = workflow.votes(VotesOptions(export=write(tmp_path, rows), **asked, **options))
    assert pd.read_csv(asked["save_loc"])[COLUMNS[0]].tolist() == [1.5]
    assert result.left_out == {
        "of volunteers with a weight of 0": 1,
        "of an older version of the workflow": 1,
    }


def test_ten_thousand_classifications_are_those_of_a_hand_count(tmp_path, asked):
    rng = np.random.default_rng(0)
    texts = {"T0": [SMOOTH, FEATURED, "Star or Artifact"], "T1": ["Round", "In between"], "T3": ["Yes", "No"]}
    truth = np.zeros((250, 7), int)
    rows = []
    for number in range(10_000):
        subject = number % 250
        first = int(rng.choice(3, p=[0.5, 0.4, 0.1]))
        answers = {"T0": texts["T0"][first]}
        truth[subject, first] += 1
        if first < 2:
            task, second = ("T1", "T3")[first], int(rng.integers(2))
            answers[task] = texts[task][second]
            truth[subject, 3 + 2 * first + second] += 1
        rows.append(classification(number, f"user-{number // 250}", 1000 + subject, answers))
    result = workflow.votes(VotesOptions(export=write(tmp_path, rows), **asked))
    assert result.counted == 10_000
    table = pd.read_csv(asked["save_loc"])
    np.testing.assert_array_equal(table[COLUMNS], truth)
    assert table["subject_id"].tolist() == list(range(1000, 1250))


def test_answers_of_combined_tasks_count_one_by_one(tmp_path, asked):
    both = [{"task": "T8", "value": [{"task": "T0", "value": SMOOTH}, {"task": "T1", "value": "In between"}]}]
    row = classification(1, "ann", 11, {}) | {"annotations": json.dumps(both)}
    workflow.votes(VotesOptions(export=write(tmp_path, [row]), **asked))
    assert pd.read_csv(asked["save_loc"]).loc[0, COLUMNS].tolist() == [1, 0, 0, 0, 1, 0, 0]


def test_an_aggregation_has_the_same_votes(tmp_path, asked):
    rows = [
        {"subject_id": 11, "workflow_id": 77, "task": "T0", "data.smooth": 3, "data.features-or-disk": 5},
        {"subject_id": 11, "workflow_id": 77, "task": "T3", "data.yes": 4, "data.no": 1},
        {"subject_id": 11, "workflow_id": 77, "task": "T5", "data.ring": 1},
        {"subject_id": 12, "workflow_id": 77, "task": "T0", "data.star-or-artifact": 2, "data.None": 1},
    ]
    subjects = [{"subject_id": n, "metadata": json.dumps({"!id_str": f"00{n}"})} for n in (11, 12)]
    pd.DataFrame(subjects).to_csv(tmp_path / "subjects.csv", index=False)
    options = VotesOptions(export=write(tmp_path, rows), **asked, subjects=str(tmp_path / "subjects.csv"))
    result = workflow.votes(options)
    table = pd.read_csv(asked["save_loc"], dtype={"id_str": str})
    assert table["id_str"].tolist() == ["0011", "0012"]
    np.testing.assert_array_equal(table[COLUMNS], [[3, 5, 0, 0, 0, 4, 1], [0, 0, 2, 0, 0, 0, 0]])
    assert result.unknown == {"T0: data.None": 1}
    assert result.left_out == {"of task T5, which is no question here": 1}


@pytest.mark.parametrize("form", ["csv", "json", "lines"])
def test_reductions_of_caesar_have_the_same_votes(tmp_path, asked, form):
    found = [(11, "galaxy_zoo_T0", {"0": 3, "1": 5}), (11, "galaxy_zoo_T3", {"0": 4, "1": 1})]
    if form == "csv":
        rows = [{"id": 1, "reducer_key": key, "workflow_id": 77, "subject_id": s, "data": json.dumps(data)}
                for s, key, data in found]  # fmt: skip
        file = write(tmp_path, [*rows, rows[0] | {"workflow_id": 78}])
    else:
        posted = [
            {"reducible": {"id": 77, "type": "Workflow"}, "reducer_key": key, "data": data}
            | {"subject": {"id": s, "metadata": {"id_str": "m31"}}}
            for s, key, data in found
        ]
        text = json.dumps(posted) if form == "json" else "\n".join(map(json.dumps, posted))
        (tmp_path / "posted.json").write_text(text)
        file = str(tmp_path / "posted.json")
    result = workflow.votes(VotesOptions(export=file, **asked))
    assert result.left_out == ({"of another workflow": 1} if form == "csv" else {})
    table = pd.read_csv(asked["save_loc"], dtype=str)
    assert table["id_str"].tolist() == (["11"] if form == "csv" else ["m31"])
    assert table.loc[0, COLUMNS].tolist() == ["3", "5", "0", "0", "0", "4", "1"]


def test_places_that_are_no_numbers_are_told(tmp_path, asked):
    posted = [{"subject": {"id": 1}, "reducer_key": "T0", "data": {"²": 3, "0": 1}}]
    (tmp_path / "posted.json").write_text(json.dumps(posted))
    result = workflow.votes(VotesOptions(export=str(tmp_path / "posted.json"), **asked))
    assert result.unknown == {"T0: ²": 1}
    names = EXTRACTOR | {"task_key_data_labels": {"T0": {"first": "smooth"}}}
    (tmp_path / "extractor.json").write_text(json.dumps(names))
    with pytest.raises(SchemaError, match="must be counted from 0"):
        Naming.from_extractor(tmp_path / "extractor.json")


def test_volunteers_without_a_name_are_told_apart_by_their_addresses(tmp_path, asked):
    rows = [classification(n, "", 11, {"T0": SMOOTH}, user_ip=ip) for n, ip in enumerate(("a", "b", "a", ""))]
    assert workflow.votes(VotesOptions(export=write(tmp_path, rows), **asked)).counted == 3


def test_votes_come_beside_the_columns_of_a_catalog(tmp_path, asked):
    rows = [classification(n, "ann", s, {"T0": SMOOTH}) for n, s in enumerate((11, 12, 13))]
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "ours.csv").write_text(
        f"id_str,file_loc,ra,{COLUMNS[0]}\n012,a.png,3.5,8\n011,b.png,4,8\n9,c.png,5,8\n"
    )
    options = VotesOptions(export=write(tmp_path, rows), **asked, catalog=str(tmp_path / "ours" / "ours.csv"))
    result = workflow.votes(options)
    table = pd.read_csv(asked["save_loc"], dtype={"id_str": str})
    assert table["id_str"].tolist() == ["012", "011"]
    assert table["file_loc"].tolist() == [str(tmp_path / "ours" / name) for name in ("a.png", "b.png")]
    assert "left out: 1 galaxies with votes that the catalog does not have" in result.notes
    assert table[COLUMNS[0]].tolist() == [1, 1]
    assert f"left out of the catalog, since votes have them: {COLUMNS[0]}" in result.notes


def test_subjects_of_one_galaxy_have_their_votes_added_up(tmp_path, asked):
    rows = [classification(n, "ann", s, {"T0": SMOOTH}) for n, s in enumerate((11, 12, 13))]
    for row in rows[:2]:
        row["subject_data"] = row["subject_data"].replace("#id_str", "other")
        row["subject_data"] = row["subject_data"].replace('"!hidden": "x"', '"id_str": "m31"')
    result = workflow.votes(VotesOptions(export=write(tmp_path, rows), **asked))
    table = pd.read_csv(asked["save_loc"], dtype={"id_str": str, "subject_id": str})
    assert table["id_str"].tolist() == ["m31", "013"]
    assert table["subject_id"].tolist() == ["11 12", "13"]
    assert table[COLUMNS[0]].tolist() == [2, 1]
    assert any(note.startswith("2 subjects show galaxies that others show too") for note in result.notes)


def test_a_tree_of_ours_takes_votes_under_its_names_alone(tmp_path, asked):
    export = write(tmp_path, [classification(1, "ann", 11, {"T0": SMOOTH})])
    with pytest.raises(SchemaError, match="which the tree gz2 does not have"):
        workflow.votes(VotesOptions(export=export, **asked, schema="gz2"))
    names = EXTRACTOR | {
        "data_release_suffix": "gz2",
        "task_key_label_prefixes": {"T0": "smooth-or-featured"},
    }
    (tmp_path / "extractor.json").write_text(json.dumps(names))
    result = workflow.votes(VotesOptions(export=export, **asked, schema="gz2"))
    assert result.schema.name == "gz2"
    assert pd.read_csv(asked["save_loc"])["smooth-or-featured-gz2_smooth"].tolist() == [1]
    assert any("no votes, since the workflow does not ask: disk-edge-on-gz2" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"annotations": "[{"}, CatalogError, "classification 500001 is damaged"),
        ({"annotations": '{"a": 1}'}, CatalogError, "must hold a list"),
        ({"subject_data": "[]"}, CatalogError, "must hold a dictionary"),
        ({"workflow_id": "5"}, CatalogError, "leaves no galaxy with votes"),
    ],
)
def test_a_damaged_export_is_named_and_leaves_no_table(tmp_path, asked, change, error, words):
    export = write(tmp_path, [classification(1, "ann", 11, {"T0": SMOOTH}) | change])
    with pytest.raises(error, match=words):
        workflow.votes(VotesOptions(export=export, **asked))
    assert not (tmp_path / "votes.csv").exists()


def test_what_is_no_export_is_refused(tmp_path, asked):
    export = write(tmp_path, [{"a": 1}])
    with pytest.raises(CatalogError, match="no export of the Zooniverse that is known here"):
        workflow.votes(VotesOptions(export=export, **asked))
    with pytest.raises(ConfigError, match="must end in"):
        VotesOptions(export=export, **asked | {"save_loc": "votes.fits"})


def test_galaxies_go_to_volunteers_and_come_back_as_votes_to_learn_from(tmp_path, asked):
    tree = read_workflow(asked["workflow"]).schema(Naming.from_extractor(asked["extractor"]))
    task = TreeTask(schema=tree)
    rng = np.random.default_rng(1)
    ids = [f"{n:03}" for n in range(18)] + ["-1.5b", "=x"]
    for galaxy in range(20):
        image = rng.integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(image).save(tmp_path / f"{galaxy}.png")
    catalog = pd.DataFrame({"id_str": ids, "file_loc": [f"{n}.png" for n in range(20)], "z": 0.1})
    write_csv(catalog, tmp_path / "new.csv")
    file, metadata = tmp_path / "predicted.parquet", {"task": task.to_config()}
    with PredictionWriter(file, task.output_columns, metadata=metadata) as writer:
        writer.write(ids, rng.uniform(1, 20, (20, 7)))
    prioritised = workflow.prioritise(
        workflow.PrioritiseOptions(
            catalog=tmp_path / "new.csv",
            predictions=file,
            answer=COLUMNS[1],
            fraction=0.2,
            random_share=0.2,
            platform="zooniverse",
            metadata=("#z",),
            picture=False,
            save_loc=tmp_path / "next.csv",
        )
    )
    manifest = pd.read_csv(tmp_path / "next.zooniverse" / "manifest.csv", dtype=str, keep_default_na=False)
    rows = []
    for place, subject in enumerate(manifest.to_dict("records")):
        for user in range(4):
            answers = {"T0": SMOOTH, "T1": "Round"} if user <= place % 4 else {"T0": FEATURED, "T3": "No"}
            about = json.dumps({str(7000 + place): {"retired": None, **subject}})
            row = classification(len(rows), f"user-{user}", 7000 + place, answers)
            rows.append(row | {"subject_data": about})
    export = write(tmp_path, rows)
    workflow.votes(VotesOptions(export=export, **asked, catalog=str(tmp_path / "new.csv")))
    learned = read_catalog(asked["save_loc"], label_cols=tree.label_cols)
    chosen = prioritised.table["id_str"].tolist()
    assert {"-1.5b", "=x"} & set(chosen)
    assert set(learned.ids) == set(chosen)
    assert learned.ids == [galaxy for galaxy in ids if galaxy in set(chosen)]
    place = np.array([chosen.index(galaxy) for galaxy in learned.ids])
    np.testing.assert_array_equal(learned.labels[:, 0], place % 4 + 1)
    np.testing.assert_array_equal(learned.labels[:, [1, 6]].sum(axis=1), 2 * (3 - place % 4))
    task.check_labels(learned.labels, learned.ids)
    # without our table beside them, in the order in which they were uploaded
    workflow.votes(VotesOptions(export=export, **asked, overwrite=True))
    assert read_table(asked["save_loc"], text_cols=["id_str"])["id_str"].tolist() == chosen
