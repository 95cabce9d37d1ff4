"""Several campaigns in one schema, each of whose questions remembers its campaign."""

import pytest

from zoobot.shared import schemas
from zoobot.shared.errors import SchemaError
from zoobot.shared.schemas import Schema

RINGS, BARS = schemas.get("gz_rings"), Schema.from_pairs({"bar": ["yes", "no"]}, name="bars")
TREE = Schema.from_pairs(
    {"shape": ["smooth", "disk"], "arms": ["yes", "no"]}, {"arms": "shape_disk"}, name="disks"
)


def test_a_join_has_all_questions_in_order_and_says_whose_they_are():
    joined = schemas.join([BARS, TREE, RINGS])
    assert joined.name == "bars+disks+gz_rings"
    assert joined.label_cols == [*BARS.label_cols, *TREE.label_cols, *RINGS.label_cols]
    assert joined.campaigns == {"bars": [0], "disks": [1, 2], "gz_rings": [3]}
    assert joined.get_question("arms").parents == ("shape_disk",)
    assert schemas.join([BARS, TREE], name="both").name == "both"


def test_a_join_of_joins_keeps_the_first_campaigns():
    joined = schemas.join([schemas.join([BARS, TREE]), RINGS])
    assert joined.campaigns == schemas.join([BARS, TREE, RINGS]).campaigns


def test_a_question_of_two_campaigns_is_refused_and_both_are_named():
    other = Schema.from_pairs({"bar": ["strong", "weak", "none"]}, name="other")
    with pytest.raises(SchemaError, match="other and bars both ask 'bar'"):
        schemas.join([BARS, other])


def test_no_campaign_is_refused():
    with pytest.raises(SchemaError, match="no questions"):
        schemas.join([])


def test_campaigns_survive_files(tmp_path):
    joined = schemas.join([BARS, TREE])
    assert Schema.from_config(joined.to_config()).campaigns == joined.campaigns
    joined.to_yaml(tmp_path / "joined.yaml")
    assert Schema.from_yaml(tmp_path / "joined.yaml") == joined
    assert Schema.from_yaml(tmp_path / "joined.yaml").campaigns == joined.campaigns


def test_one_campaign_alone_has_none():
    assert TREE.campaigns == {}


def test_gz_evo_knows_its_campaigns():
    evo = schemas.get("gz_evo_v1_public")
    assert list(evo.campaigns) == ["dr12", "dr5", "dr8", "gz2", "candels", "hubble"]
    assert sorted(place for places in evo.campaigns.values() for place in places) == list(range(63))
    for campaign, places in evo.campaigns.items():
        assert all(evo.questions[place].text.endswith(f"-{campaign}") for place in places)
