"""The decision tree of every public Galaxy Zoo campaign, as data; `zoobot.shared.schemas.get` builds them.

Question and answer lists equal the published ones, order included, so label columns match published
catalogs. What leads to a question, its parent answers, was published with one parent at most, and with a few
errors. `schemas.get(name)` gives the corrected parents and `schemas.get(name, legacy=True)` the published
ones. They differ in:

==================  ===================  =========================  ====================================
campaigns           questions            published                  corrected
==================  ===================  =========================  ====================================
all with *merging*  merging              everyone                   smooth or featured: whoever answers
                                                                    artifact (problem) is asked no more
GZ2, UKIDSS         something-odd        everyone                   smooth or featured, likewise
GZ2, UKIDSS         has-spiral-arms,     featured                   disk-edge-on: no (Willett+ 2013,
                    bar, bulge-size                                 fig. 1: face-on disks only)
Hubble, CANDELS     spiral-winding,      disk-edge-on: no           has-spiral-arms: yes
                    spiral-arm-count
JWST                clumps               everyone                   disk-edge-on: no, as in Cosmic Dawn
==================  ===================  =========================  ====================================

Questions that the published lists leave out (the arrangement of clumps, rare features) are left out here too,
because a label column must mean the same everywhere; GZ2's odd-feature is in `gz2_full`.

Questions of most campaigns end in the campaign's suffix (`bar-dr5`), so that campaigns can be joined in one
schema without mixing votes; `gz_evo_*` are such joins. "Ortho" in a name says so where both forms exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Row(NamedTuple):
    """One question of a campaign: its answers, and the parent answers, corrected and as published."""

    question: str
    answers: tuple[str, ...]
    parents: tuple[str, ...]
    published_parents: tuple[str, ...]


class Paper(NamedTuple):
    """A work to cite.

    Attributes:
        key: What BibTeX calls it.
        short: As a sentence calls it: authors and year, then journal, volume and page, or arXiv's number.
        author: In full, or the first "and others", in TeX.
        title: In TeX.
        where: Its DOI, or an address; empty where we don't know it.
    """

    key: str
    short: str
    author: str
    title: str
    where: str = ""


@dataclass(frozen=True)
class Campaign:
    """One Galaxy Zoo campaign: its tree, what it is, whom to cite, and the other names it goes by.

    Args:
        rows: The questions in published order.
        description: The campaign in a few words.
        paper: The paper to cite.
        aliases: Other names that `schemas.get` understands; with or without `gz_` and `_schema` needs no
            alias.
        joined: Whether it is several campaigns, told apart by the suffixes of their questions.
    """

    rows: tuple[Row, ...]
    description: str
    paper: Paper
    aliases: tuple[str, ...] = ()
    joined: bool = False

    @property
    def reference(self) -> str:
        """The paper to cite, in a few words."""
        return self.paper.short


def _ask(question: str, answers: str, *after: str, published: tuple[str, ...] | None = None) -> Row:
    """A row; `answers` are separated by spaces, `after` are parent answers (none: asked of everyone)."""
    return Row(question, tuple(answers.split()), after, after if published is None else published)


def _suffixed(rows: tuple[Row, ...], suffix: str) -> tuple[Row, ...]:
    """The rows with `-suffix` at the end of every question."""

    def rename(parents: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(parent.replace("_", f"-{suffix}_", 1) for parent in parents)

    return tuple(
        Row(f"{row.question}-{suffix}", row.answers, rename(row.parents), rename(row.published_parents))
        for row in rows
    )


EVERYONE: tuple[str, ...] = ()
SMOOTH = "smooth-or-featured_smooth"
FEATURED = "smooth-or-featured_featured-or-disk"
FEATURES = "smooth-or-featured_features"
EDGE_ON = "disk-edge-on_yes"
FACE_ON = "disk-edge-on_no"
SPIRAL = "has-spiral-arms_yes"
NOT_CLUMPY = "clumpy-appearance_no"
CLUMPY = "clumpy-appearance_yes"

_MERGING = _ask(
    "merging", "none minor-disturbance major-disturbance merger", SMOOTH, FEATURED, published=EVERYONE
)
_CLUMPS = _ask("clumps", "yes no", FACE_ON)

_DECALS_DR12 = (
    _ask("smooth-or-featured", "smooth featured-or-disk artifact"),
    _ask("disk-edge-on", "yes no", FEATURED),
    _ask("has-spiral-arms", "yes no", FACE_ON),
    _ask("bar", "yes no", FACE_ON),
    _ask("bulge-size", "dominant obvious none", FACE_ON),
    _ask("how-rounded", "completely in-between cigar-shaped", SMOOTH),
    _ask("edge-on-bulge", "boxy none rounded", EDGE_ON),
    _ask("spiral-winding", "tight medium loose", SPIRAL),
    _ask("spiral-arm-count", "1 2 3 4 more-than-4", SPIRAL),
    _ask("merging", "neither tidal-debris both merger", SMOOTH, FEATURED, published=EVERYONE),
)

# The tree since DECaLS DR5, on which all later campaigns build.
_DECALS_DR5 = (
    _ask("smooth-or-featured", "smooth featured-or-disk artifact"),
    _ask("disk-edge-on", "yes no", FEATURED),
    _ask("has-spiral-arms", "yes no", FACE_ON),
    _ask("bar", "strong weak no", FACE_ON),
    _ask("bulge-size", "dominant large moderate small none", FACE_ON),
    _ask("how-rounded", "round in-between cigar-shaped", SMOOTH),
    _ask("edge-on-bulge", "boxy none rounded", EDGE_ON),
    _ask("spiral-winding", "tight medium loose", SPIRAL),
    _ask("spiral-arm-count", "1 2 3 4 more-than-4 cant-tell", SPIRAL),
    _MERGING,
)

_COSMIC_DAWN = (
    _ask("smooth-or-featured", "smooth featured-or-disk problem"),
    *_DECALS_DR5[1:],
    _CLUMPS,
    _ask("problem", "star artifact zoom", "smooth-or-featured_problem"),
    _ask("artifact", "satellite scattered diffraction ray saturation other", "problem_artifact"),
)

_EUCLID = (
    *_COSMIC_DAWN[:-1],
    _ask("artifact", "satellite scattered diffraction ray saturation other ghost", "problem_artifact"),
)

# The published JWST list asks *clumps* of everyone; we know of no paper that says whom it was asked of. The
# project reused the Cosmic Dawn workflow, so its parent is taken from there.
_JWST_CEERS = (
    _ask("smooth-or-featured", "smooth featured-or-disk star-artifact-zoom"),
    *_DECALS_DR5[1:-1],
    _CLUMPS._replace(published_parents=EVERYONE),
    _MERGING,
    _ask("problem", "star artifact bad-zoom", "smooth-or-featured_star-artifact-zoom"),
)

_JWST_COSMOS = tuple(row for row in _JWST_CEERS if row.question != "how-rounded")

# UKIDSS asked the same questions (Masters et al. 2024).
_GZ2 = (
    _ask("smooth-or-featured", "smooth featured-or-disk artifact"),
    _ask("disk-edge-on", "yes no", FEATURED),
    _ask("has-spiral-arms", "yes no", FACE_ON, published=(FEATURED,)),
    _ask("bar", "yes no", FACE_ON, published=(FEATURED,)),
    _ask("bulge-size", "dominant obvious just-noticeable no", FACE_ON, published=(FEATURED,)),
    _ask("something-odd", "yes no", SMOOTH, FEATURED, published=EVERYONE),
    _ask("how-rounded", "round in-between cigar", SMOOTH),
    _ask("bulge-shape", "round boxy no-bulge", EDGE_ON),
    _ask("spiral-winding", "tight medium loose", SPIRAL),
    _ask("spiral-arm-count", "1 2 3 4 more-than-4 cant-tell", SPIRAL),
)

_GZ2_FULL = (
    *_GZ2,
    _ask(
        "odd-feature",
        "ring lens-or-arc disturbed irregular other merger dust-lane",
        "something-odd_yes",
    ),
)

_HUBBLE = (
    _ask("smooth-or-featured", "smooth features artifact"),
    _ask("how-rounded", "completely in-between cigar-shaped", SMOOTH),
    _ask("clumpy-appearance", "yes no", FEATURES),
    _ask("disk-edge-on", "yes no", NOT_CLUMPY),
    _ask("bulge-shape", "rounded boxy none", EDGE_ON),
    _ask("bar", "yes no", FACE_ON),
    _ask("has-spiral-arms", "yes no", FACE_ON),
    _ask("spiral-winding", "tight medium loose", SPIRAL, published=(FACE_ON,)),
    _ask("spiral-arm-count", "1 2 3 4 5-plus cant-tell", SPIRAL, published=(FACE_ON,)),
    _ask("bulge-size", "none just-noticeable obvious dominant", FACE_ON),
    _ask("galaxy-symmetrical", "yes no", CLUMPY),
    _ask("clumps-embedded-larger-object", "yes no", CLUMPY),
)

# Version 2 of the published list leaves the clump questions out: *edge-on* then follows *features* directly.
_HUBBLE_V2 = (
    *_HUBBLE[:2],
    _ask("disk-edge-on", "yes no", FEATURES),
    *_HUBBLE[4:10],
)

_CANDELS = (
    _ask("smooth-or-featured", "smooth features artifact"),
    _ask("how-rounded", "completely in-between cigar-shaped", SMOOTH),
    _ask("clumpy-appearance", "yes no", FEATURES),
    _ask("disk-edge-on", "yes no", NOT_CLUMPY),
    _ask("edge-on-bulge", "yes no", EDGE_ON),
    _ask("bar", "yes no", FACE_ON),
    _ask("has-spiral-arms", "yes no", FACE_ON),
    _ask("spiral-winding", "tight medium loose", SPIRAL, published=(FACE_ON,)),
    _ask("spiral-arm-count", "1 2 3 4 5-plus cant-tell", SPIRAL, published=(FACE_ON,)),
    _ask("bulge-size", "none obvious dominant", FACE_ON),
    _ask("merging", "merger tidal-debris both neither", SMOOTH, FEATURES, published=EVERYONE),
)

_DR12 = _suffixed(_DECALS_DR12, "dr12")
_DR5 = _suffixed(_DECALS_DR5, "dr5")
_DR8 = _suffixed(_DECALS_DR5, "dr8")
_ALL_DECALS = _DR12 + _DR5 + _DR8
_EVO_BASE = _ALL_DECALS + _suffixed(_GZ2, "gz2") + _suffixed(_CANDELS, "candels")
_EVO_V1_PUBLIC = _EVO_BASE + _suffixed(_HUBBLE, "hubble")
_EVO_V2_PUBLIC = _EVO_BASE + _suffixed(_HUBBLE_V2, "hubble")

_WALMSLEY_DECALS = Paper(
    "walmsley2022decals",
    "Walmsley et al. 2022, MNRAS 509, 3966",
    "Walmsley, Mike and others",
    "{Galaxy Zoo DECaLS}: Detailed visual morphology measurements from volunteers and deep learning for 314 "
    "000 galaxies",
    "10.1093/mnras/stab2093",
)
_WALMSLEY_DESI = Paper(
    "walmsley2023desi",
    "Walmsley et al. 2023, MNRAS 526, 4768",
    "Walmsley, Mike and others",
    "{Galaxy Zoo DESI}: Detailed morphology measurements for 8.7M galaxies in the {DESI} Legacy Imaging "
    "Surveys",
    "10.1093/mnras/stad2919",
)
_WALMSLEY_EVO = Paper(
    "walmsley2022hybrid",
    "Walmsley et al. 2022, arXiv:2206.11927",
    "Walmsley, Mike and others",
    "Towards Galaxy Foundation Models with Hybrid Contrastive Learning",
)
_WALMSLEY_SCALING = Paper(
    "walmsley2024scaling",
    "Walmsley et al. 2024, arXiv:2404.02973",
    "Walmsley, Mike and others",
    "Scaling Laws for Galaxy Images",
)
_WALMSLEY_EUCLID = Paper(
    "walmsley2025euclid",
    "Walmsley et al. 2025, arXiv:2503.15310",
    "{Euclid Collaboration} and Walmsley, Mike and others",
    "{Euclid} Quick Data Release ({Q1}): First visual morphology catalogue",
)
_PEARSON = Paper(
    "pearson2025cosmicdawn",
    "Pearson et al. 2025, arXiv:2509.22311",
    "Pearson, James and others",
    "{Galaxy Zoo}: {Cosmic Dawn} -- morphological classifications for over 41,000 galaxies in the {Euclid} "
    "Deep Field North from the {Hawaii Two-0 Cosmic Dawn} survey",
)
_WILLETT_GZ2 = Paper(
    "willett2013gz2",
    "Willett et al. 2013, MNRAS 435, 2835",
    "Willett, Kyle W. and others",
    "{Galaxy Zoo 2}: detailed morphological classifications for 304 122 galaxies from the {Sloan Digital "
    "Sky Survey}",
    "10.1093/mnras/stt1458",
)
_WILLETT_HUBBLE = Paper(
    "willett2017hubble",
    "Willett et al. 2017, MNRAS 464, 4176",
    "Willett, Kyle W. and others",
    "{Galaxy Zoo}: morphological classifications for 120 000 galaxies in {HST} legacy imaging",
    "10.1093/mnras/stw2568",
)
_WALMSLEY_RINGS = Paper(
    "walmsley2022practical",
    "Walmsley et al. 2022, MNRAS 513, 1581",
    "Walmsley, Mike and others",
    "Practical galaxy morphology tools from deep supervised representation learning",
    "10.1093/mnras/stac525",
)
_SIMMONS = Paper(
    "simmons2017candels",
    "Simmons et al. 2017, MNRAS 464, 4420",
    "Simmons, B. D. and others",
    "{Galaxy Zoo}: quantitative visual morphological classifications for 48 000 galaxies from {CANDELS}",
    "10.1093/mnras/stw2587",
)
_GERON = Paper(
    "geron2025ceers",
    "Géron et al. 2025, arXiv:2505.01421",
    "G{\\'e}ron, Tobias and others",
    "{Galaxy Zoo CEERS}: Bar fractions up to z~4.0",
)
_CASEY = Paper(
    "casey2023cosmosweb",
    "Casey et al. 2023, ApJ 954, 31, for the survey",
    "Casey, Caitlin M. and others",
    "{COSMOS-Web}: An Overview of the {JWST} Cosmic Origins Survey",
    "10.3847/1538-4357/acc2bc",
)
_MASTERS = Paper(
    "masters2024ukidss",
    "Masters et al. 2024, arXiv:2408.10160",
    "Masters, Karen L. and Galloway, Melanie and Fortson, Lucy and Lintott, Chris J. and Read, Mike and "
    "Scarlata, Claudia and Simmons, Brooke and Walmsley, Mike and Willett, Kyle",
    "{Galaxy Zoo}: Morphologies based on {UKIDSS NIR} Imaging for 71,052 Galaxies",
)

CAMPAIGNS: dict[str, Campaign] = {
    "gz_decals_dr12": Campaign(
        _DR12, "DECaLS images of data releases 1 and 2", _WALMSLEY_DECALS, ("decals_dr12_ortho",)
    ),
    "gz_decals_dr5": Campaign(
        _DR5, "DECaLS images of data release 5", _WALMSLEY_DECALS, ("decals_dr5_ortho",)
    ),
    "gz_decals_dr8": Campaign(
        _DR8, "DESI Legacy Survey images of data release 8", _WALMSLEY_DESI, ("decals_dr8_ortho",)
    ),
    "gz_decals_all_campaigns": Campaign(
        _ALL_DECALS,
        "DECaLS dr1/2, dr5 and dr8 joined",
        _WALMSLEY_DESI,
        ("decals_all_campaigns_ortho",),
        joined=True,
    ),
    "gz_desi": Campaign(_DECALS_DR5, "DESI Legacy Surveys catalog, without suffix", _WALMSLEY_DESI),
    "gz2": Campaign(
        _suffixed(_GZ2, "gz2"),
        "Galaxy Zoo 2, SDSS images",
        _WILLETT_GZ2,
        ("gz2_ortho",),
    ),
    "gz2_full": Campaign(
        _suffixed(_GZ2_FULL, "gz2"),
        "Galaxy Zoo 2 with its eleventh question, odd-feature",
        _WILLETT_GZ2,
    ),
    "gz_rings": Campaign((_ask("ring", "yes no"),), "rings in DECaLS images", _WALMSLEY_RINGS),
    "gz_hubble": Campaign(
        _suffixed(_HUBBLE, "hubble"),
        "Hubble Space Telescope legacy images",
        _WILLETT_HUBBLE,
        ("hubble_ortho",),
    ),
    "gz_hubble_v2": Campaign(
        _suffixed(_HUBBLE_V2, "hubble"),
        "Hubble without the clump questions",
        _WILLETT_HUBBLE,
        ("hubble_v2_ortho",),
    ),
    "gz_candels": Campaign(
        _suffixed(_CANDELS, "candels"),
        "CANDELS near-infrared Hubble images",
        _SIMMONS,
        ("candels_ortho",),
    ),
    "gz_cosmic_dawn": Campaign(_COSMIC_DAWN, "Hyper Suprime-Cam deep images, without suffix", _PEARSON),
    "gz_cosmic_dawn_ortho": Campaign(
        _suffixed(_COSMIC_DAWN, "cd"), "Hyper Suprime-Cam deep images", _PEARSON
    ),
    "gz_jwst_ceers": Campaign(
        _suffixed(_JWST_CEERS, "jwst"),
        "JWST images of the CEERS survey",
        _GERON,
        ("jwst", "jwst_ortho", "jwst_ceers_ortho"),
    ),
    "gz_jwst_cosmos": Campaign(
        _suffixed(_JWST_COSMOS, "jwst"),
        "JWST images of the COSMOS-Web survey",
        _CASEY,
        ("jwst_cosmos_ortho",),
    ),
    "gz_ukidss": Campaign(
        _suffixed(_GZ2, "ukidss"),
        "UKIDSS near-infrared images of GZ2 galaxies",
        _MASTERS,
        ("ukidss_ortho",),
    ),
    "gz_euclid": Campaign(_EUCLID, "Euclid Q1 images, without suffix", _WALMSLEY_EUCLID),
    "gz_euclid_ortho": Campaign(_suffixed(_EUCLID, "euclid"), "Euclid Q1 images", _WALMSLEY_EUCLID),
    "gz_evo_v1": Campaign(
        _EVO_V1_PUBLIC + _suffixed(_COSMIC_DAWN, "cd"),
        "DECaLS, GZ2, CANDELS, Hubble and Cosmic Dawn joined, for pretraining",
        _WALMSLEY_EVO,
        joined=True,
    ),
    "gz_evo_v1_public": Campaign(
        _EVO_V1_PUBLIC, "GZ Evo v1 without the campaigns not public then", _WALMSLEY_EVO, joined=True
    ),
    "gz_evo_v2": Campaign(
        _EVO_V2_PUBLIC + _suffixed(_COSMIC_DAWN, "cd") + _suffixed(_EUCLID, "euclid"),
        "GZ Evo with Hubble v2 and Euclid, for pretraining",
        _WALMSLEY_SCALING,
        joined=True,
    ),
    "gz_evo_v2_public": Campaign(
        _EVO_V2_PUBLIC, "GZ Evo v2 without the campaigns not public then", _WALMSLEY_SCALING, joined=True
    ),
}


def find_campaign(name: str) -> str | None:
    """Our name of the campaign that goes by `name`, or None where no campaign does.

    Case, "-" for "_", a leading `gz_` and a trailing `_schema` make no difference.

    Example:
        >>> find_campaign("decals_dr5_ortho_schema")
        'gz_decals_dr5'
    """
    wanted = _plain(str(name))
    for canonical, campaign in CAMPAIGNS.items():
        if wanted in {_plain(known) for known in (canonical, *campaign.aliases)}:
            return canonical
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").removesuffix("_schema").removeprefix("gz_")
