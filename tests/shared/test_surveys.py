import pytest

from zoobot.shared import schemas
from zoobot.shared.errors import SchemaError
from zoobot.shared.trees import surveys

# Questions and answers of each published list, by the public name.
SIZES = {
    "decals_dr12_ortho_schema": (10, 30),
    "decals_dr5_ortho_schema": (10, 34),
    "decals_dr8_ortho_schema": (10, 34),
    "decals_all_campaigns_ortho_schema": (30, 98),
    "desi_schema": (10, 34),
    "gz2_ortho_schema": (10, 30),
    "gz2_full": (11, 37),
    "gz_rings_schema": (1, 2),
    "gz_hubble_ortho_schema": (12, 34),
    "hubble_v2_ortho_schema": (9, 28),
    "gz_candels_ortho_schema": (11, 32),
    "cosmic_dawn_ortho_schema": (13, 45),
    "cosmic_dawn_schema": (13, 45),
    "gz_jwst_schema": (12, 39),
    "jwst_cosmos_ortho_schema": (11, 36),
    "gz_ukidss_schema": (10, 30),
    "euclid_ortho_schema": (13, 46),
    "euclid_schema": (13, 46),
    "gz_evo_v1_schema": (76, 239),
    "gz_evo_v1_public_schema": (63, 194),
    "gz_evo_v2_schema": (86, 279),
    "gz_evo_v2_public_schema": (60, 188),
}


def columns(text):
    return text.split()


# Published label columns, written out by hand.
DECALS_DR5 = columns(
    """
smooth-or-featured-dr5_smooth smooth-or-featured-dr5_featured-or-disk smooth-or-featured-dr5_artifact
disk-edge-on-dr5_yes disk-edge-on-dr5_no
has-spiral-arms-dr5_yes has-spiral-arms-dr5_no
bar-dr5_strong bar-dr5_weak bar-dr5_no
bulge-size-dr5_dominant bulge-size-dr5_large bulge-size-dr5_moderate bulge-size-dr5_small bulge-size-dr5_none
how-rounded-dr5_round how-rounded-dr5_in-between how-rounded-dr5_cigar-shaped
edge-on-bulge-dr5_boxy edge-on-bulge-dr5_none edge-on-bulge-dr5_rounded
spiral-winding-dr5_tight spiral-winding-dr5_medium spiral-winding-dr5_loose
spiral-arm-count-dr5_1 spiral-arm-count-dr5_2 spiral-arm-count-dr5_3 spiral-arm-count-dr5_4
spiral-arm-count-dr5_more-than-4 spiral-arm-count-dr5_cant-tell
merging-dr5_none merging-dr5_minor-disturbance merging-dr5_major-disturbance merging-dr5_merger
"""
)

GZ2 = columns(
    """
smooth-or-featured-gz2_smooth smooth-or-featured-gz2_featured-or-disk smooth-or-featured-gz2_artifact
disk-edge-on-gz2_yes disk-edge-on-gz2_no
has-spiral-arms-gz2_yes has-spiral-arms-gz2_no
bar-gz2_yes bar-gz2_no
bulge-size-gz2_dominant bulge-size-gz2_obvious bulge-size-gz2_just-noticeable bulge-size-gz2_no
something-odd-gz2_yes something-odd-gz2_no
how-rounded-gz2_round how-rounded-gz2_in-between how-rounded-gz2_cigar
bulge-shape-gz2_round bulge-shape-gz2_boxy bulge-shape-gz2_no-bulge
spiral-winding-gz2_tight spiral-winding-gz2_medium spiral-winding-gz2_loose
spiral-arm-count-gz2_1 spiral-arm-count-gz2_2 spiral-arm-count-gz2_3 spiral-arm-count-gz2_4
spiral-arm-count-gz2_more-than-4 spiral-arm-count-gz2_cant-tell
"""
)

JWST_COSMOS = columns(
    """
smooth-or-featured-jwst_smooth smooth-or-featured-jwst_featured-or-disk
smooth-or-featured-jwst_star-artifact-zoom
disk-edge-on-jwst_yes disk-edge-on-jwst_no
has-spiral-arms-jwst_yes has-spiral-arms-jwst_no
bar-jwst_strong bar-jwst_weak bar-jwst_no
bulge-size-jwst_dominant bulge-size-jwst_large bulge-size-jwst_moderate bulge-size-jwst_small
bulge-size-jwst_none
edge-on-bulge-jwst_boxy edge-on-bulge-jwst_none edge-on-bulge-jwst_rounded
spiral-winding-jwst_tight spiral-winding-jwst_medium spiral-winding-jwst_loose
spiral-arm-count-jwst_1 spiral-arm-count-jwst_2 spiral-arm-count-jwst_3 spiral-arm-count-jwst_4
spiral-arm-count-jwst_more-than-4 spiral-arm-count-jwst_cant-tell
clumps-jwst_yes clumps-jwst_no
merging-jwst_none merging-jwst_minor-disturbance merging-jwst_major-disturbance merging-jwst_merger
problem-jwst_star problem-jwst_artifact problem-jwst_bad-zoom
"""
)


def parents(name, question, *, legacy=False):
    return schemas.get(name, legacy=legacy).get_question(question).parents


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_published_ones(name, legacy):
    schema = schemas.get(name, legacy=legacy)
    assert (len(schema.questions), len(schema.label_cols)) == SIZES[name]


def test_every_campaign_has_a_published_size_here():
    assert {schemas.get(name).name for name in SIZES} == set(schemas.names())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("gz_decals_dr5", DECALS_DR5),
        ("gz_decals_dr8", [column.replace("-dr5_", "-dr8_") for column in DECALS_DR5]),
        ("gz_desi", [column.replace("-dr5_", "_") for column in DECALS_DR5]),
        ("gz2", GZ2),
        ("gz_ukidss", [column.replace("-gz2_", "-ukidss_") for column in GZ2]),
        ("gz_jwst_cosmos", JWST_COSMOS),
        ("gz_rings", ["ring_yes", "ring_no"]),
    ],
)
def test_label_columns_are_the_published_ones_in_order(name, columns, legacy):
    assert schemas.get(name, legacy=legacy).label_cols == columns


def test_joined_campaigns_hold_their_parts_in_order():
    def joined(*names):
        return [column for name in names for column in schemas.get(name).label_cols]

    decals = ("gz_decals_dr12", "gz_decals_dr5", "gz_decals_dr8")
    v1 = (*decals, "gz2", "gz_candels", "gz_hubble")
    v2 = (*decals, "gz2", "gz_candels", "gz_hubble_v2")
    assert schemas.get("gz_decals_all_campaigns").label_cols == joined(*decals)
    assert schemas.get("gz_evo_v1_public").label_cols == joined(*v1)
    assert schemas.get("gz_evo_v1").label_cols == joined(*v1, "gz_cosmic_dawn_ortho")
    assert schemas.get("gz_evo_v2_public").label_cols == joined(*v2)
    assert schemas.get("gz_evo_v2").label_cols == joined(*v2, "gz_cosmic_dawn_ortho", "gz_euclid_ortho")
    for name in decals:
        for question in schemas.get(name).questions:
            assert parents("gz_decals_all_campaigns", question.text) == question.parents


def test_gz2_full_is_gz2_and_odd_feature():
    full = schemas.get("gz2_full")
    assert full.label_cols[:30] == GZ2
    odd = full.get_question("odd-feature-gz2")
    assert [answer.text for answer in odd.answers] == [
        "ring", "lens-or-arc", "disturbed", "irregular", "other", "merger", "dust-lane"
    ]  # fmt: skip
    assert odd.parents == ("something-odd-gz2_yes",)


@pytest.mark.parametrize("name", schemas.names())
def test_published_trees_have_at_most_one_parent(name):
    for question in schemas.get(name, legacy=True).questions:
        assert len(question.parents) <= 1


@pytest.mark.parametrize("name", schemas.names())
def test_only_first_questions_are_asked_of_everyone(name):
    for question in schemas.get(name).questions:
        first = question.text.startswith(("smooth-or-featured", "ring"))
        assert (question.parents == ()) == first


@pytest.mark.parametrize("name", schemas.names())
def test_merging_and_odd_are_asked_of_all_but_artifacts(name):
    schema = schemas.get(name)
    for question in schema.questions:
        if question.text.startswith(("merging", "something-odd")):
            first = schema.get_question(question.parents[0])
            assert question.parents == tuple(first.label_cols[:2])
            assert first.label_cols[2].endswith(("artifact", "problem", "star-artifact-zoom"))
            assert parents(name, question.text, legacy=True) == ()


@pytest.mark.parametrize("survey", ["gz2", "ukidss"])
@pytest.mark.parametrize("question", ["has-spiral-arms", "bar", "bulge-size"])
def test_gz2_asks_about_face_on_disks_only(survey, question):
    asked = f"{question}-{survey}"
    assert parents(survey, asked) == (f"disk-edge-on-{survey}_no",)
    assert parents(survey, asked, legacy=True) == (f"smooth-or-featured-{survey}_featured-or-disk",)


@pytest.mark.parametrize("survey", ["hubble", "candels"])
@pytest.mark.parametrize("question", ["spiral-winding", "spiral-arm-count"])
def test_hubble_and_candels_ask_about_arms_where_there_are_arms(survey, question):
    asked = f"{question}-{survey}"
    assert parents(survey, asked) == (f"has-spiral-arms-{survey}_yes",)
    assert parents(survey, asked, legacy=True) == (f"disk-edge-on-{survey}_no",)


def test_clump_and_problem_branches():
    assert parents("gz_hubble", "disk-edge-on-hubble") == ("clumpy-appearance-hubble_no",)
    assert parents("gz_hubble_v2", "disk-edge-on-hubble") == ("smooth-or-featured-hubble_features",)
    assert parents("gz_evo_v2", "disk-edge-on-hubble") == ("smooth-or-featured-hubble_features",)
    assert parents("gz_hubble", "galaxy-symmetrical-hubble") == ("clumpy-appearance-hubble_yes",)
    assert parents("gz_jwst_ceers", "clumps-jwst") == ("disk-edge-on-jwst_no",)
    assert parents("gz_jwst_ceers", "clumps-jwst", legacy=True) == ()
    assert parents("gz_jwst_ceers", "problem-jwst") == ("smooth-or-featured-jwst_star-artifact-zoom",)
    assert parents("gz_cosmic_dawn", "clumps") == ("disk-edge-on_no",)
    assert parents("gz_euclid_ortho", "problem-euclid") == ("smooth-or-featured-euclid_problem",)
    assert parents("gz_euclid_ortho", "artifact-euclid") == ("problem-euclid_artifact",)


@pytest.mark.parametrize(
    ("public", "ours"),
    [
        ("decals_dr5_ortho", "gz_decals_dr5"),
        ("decals_dr5_ortho_schema", "gz_decals_dr5"),
        ("gz_decals_dr5", "gz_decals_dr5"),
        ("GZ-DECaLS-dr12", "gz_decals_dr12"),
        ("gz2_ortho_schema", "gz2"),
        ("rings", "gz_rings"),
        ("desi_schema", "gz_desi"),
        ("candels_schema", "gz_candels"),
        ("hubble_schema", "gz_hubble"),
        ("cosmic_dawn_schema", "gz_cosmic_dawn"),
        ("cosmic_dawn_ortho_schema", "gz_cosmic_dawn_ortho"),
        ("jwst_ortho", "gz_jwst_ceers"),
        ("gz_evo_v1_schema", "gz_evo_v1"),
    ],
)
def test_public_names_lead_to_ours(public, ours):
    assert schemas.get(public) is schemas.get(ours)
    assert schemas.get(ours).name == ours


def test_no_two_campaigns_share_a_name():
    plain = [
        surveys.find_campaign(name)
        for canonical, campaign in surveys.CAMPAIGNS.items()
        for name in (canonical, *campaign.aliases)
    ]
    expected = [canonical for canonical, c in surveys.CAMPAIGNS.items() for _ in (canonical, *c.aliases)]
    assert plain == expected


def test_public_module_attributes_still_work():
    assert schemas.decals_dr5_ortho_schema is schemas.get("gz_decals_dr5")
    with pytest.raises(AttributeError, match="no attribute 'nonsense_schema'"):
        _ = schemas.nonsense_schema
    assert not hasattr(schemas, "gz2")


def test_unknown_names_get_near_names():
    with pytest.raises(SchemaError, match=r"'gz_decals_dr6'.*gz_decals_dr5.*Schema.from_yaml"):
        schemas.get("gz_decals_dr6")
    with pytest.raises(SchemaError, match="known: "):
        schemas.get("xyzzy")
    with pytest.raises(SchemaError, match="None"):
        schemas.get(None)
    with pytest.raises(SchemaError):
        schemas.describe("xyzzy")


@pytest.mark.parametrize("name", schemas.names())
def test_descriptions_give_size_and_paper(name):
    line = schemas.describe(name)
    schema = schemas.get(name)
    assert "\n" not in line
    assert f"{len(schema.questions)} question" in line
    assert f"{len(schema.label_cols)} answers" in line
    assert " et al. 20" in line
