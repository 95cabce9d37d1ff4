"""Simulated surveys: reproducible, honest about their truth, and seen as the truth says."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage, stats

from zoobot import simulate
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError, SchemaError
from zoobot.shared.trees.tree import Schema
from zoobot.simulate import drawing, profiles, volunteers

EMPTY_SKY = dataclasses.replace(simulate.get_look("decals"), stars_per_arcmin2=0.0, galaxies_per_arcmin2=0.0)


@pytest.fixture(scope="module")
def catalog_path(tmp_path_factory):
    return simulate.simulate_survey(
        tmp_path_factory.mktemp("survey"), n_galaxies=30, image_size_pix=64, seed=5
    )


@pytest.fixture(scope="module")
def catalog(catalog_path):
    return pd.read_csv(catalog_path)


def luminance(picture):
    grey = picture.astype(float).mean(axis=2)
    return grey - np.median(grey[:8])


def central_mask(grey, threshold):
    parts, _ = ndimage.label(ndimage.gaussian_filter(grey, 1) > threshold)
    middle = parts.shape[0] // 2
    return parts == parts[middle, middle]


def draw(kind, number, **options):
    return drawing.draw_galaxy(
        np.random.default_rng(number), median_radius_arcsec=6.0, kinds={kind: 1}, **options
    )


# ---- the survey on disk


def test_survey_has_an_image_of_the_right_size_for_every_row(catalog, catalog_path):
    assert len(catalog) == 30
    assert catalog["id_str"].is_unique
    for file_loc in catalog["file_loc"]:
        with Image.open(catalog_path.parent / file_loc) as image:
            assert image.size == (64, 64)
            assert image.mode == "RGB"


def test_survey_has_votes_labels_and_truth(catalog):
    tree = schemas.get("gz_decals_dr5")
    assert set(tree.label_cols) <= set(catalog.columns)
    assert catalog["ra"].between(0, 360).all()
    assert catalog["dec"].between(-90, 90).all()
    assert [simulate.CLASS_NAMES[label] for label in catalog["label"]] == catalog["label_name"].tolist()
    assert (catalog["ring"] == (catalog["ring_strength"] > 0)).all()
    assert (catalog["spiral"] == (catalog["arms"] > 0)).all()
    for target in ("bulge_to_total", "bar_length_pix", "axis_ratio", "visibility"):
        assert np.isfinite(catalog[target]).all()
    assert catalog["bulge_to_total"].between(0, 1).all()
    assert catalog["pitch_angle_deg"].notna().equals(catalog["arms"] > 0)


def test_galaxies_do_not_depend_on_how_many_or_how_many_workers(tmp_path, catalog_path):
    fewer = simulate.simulate_survey(
        tmp_path / "fewer", n_galaxies=9, image_size_pix=64, seed=5, num_workers=4
    )
    few, many = pd.read_csv(fewer), pd.read_csv(catalog_path)
    pd.testing.assert_frame_equal(few, many.head(9))
    for file_loc in few["file_loc"]:
        assert filecmp.cmp(fewer.parent / file_loc, catalog_path.parent / file_loc, shallow=False)


def test_other_seed_gives_other_galaxies(tmp_path, catalog):
    other = pd.read_csv(simulate.simulate_survey(tmp_path, n_galaxies=9, image_size_pix=64, seed=6))
    assert not np.isclose(other["axis_ratio"], catalog["axis_ratio"].head(9)).any()


def test_same_survey_is_found_again_and_not_made_again(tmp_path):
    made = simulate.simulate_survey(tmp_path / "a", n_galaxies=3, image_size_pix=32)
    stamp = made.stat().st_mtime_ns
    calls = []
    again = simulate.simulate_survey(
        tmp_path / "a", n_galaxies=3, image_size_pix=32, on_galaxy=lambda: calls.append(1)
    )
    assert again == made
    assert made.stat().st_mtime_ns == stamp
    assert not calls


def test_folder_with_another_survey_is_left_alone(tmp_path):
    made = simulate.simulate_survey(tmp_path / "a", n_galaxies=3, image_size_pix=32)
    before = made.read_bytes()
    with pytest.raises(
        ConfigError, match="already holds a survey simulated with other options; choose another"
    ):
        simulate.simulate_survey(tmp_path / "a", n_galaxies=4, image_size_pix=32)
    assert made.read_bytes() == before


def test_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="already holds other files"):
        simulate.simulate_survey(tmp_path, n_galaxies=3)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(ConfigError, match="is a file; the survey needs a folder"):
        simulate.simulate_survey(tmp_path / "a", n_galaxies=1)


def test_a_faster_run_with_the_same_options_wins(tmp_path):
    def finish_first():
        if not (tmp_path / "a").exists():
            simulate.simulate_survey(tmp_path / "a", n_galaxies=2, image_size_pix=32)

    path = simulate.simulate_survey(tmp_path / "a", n_galaxies=2, image_size_pix=32, on_galaxy=finish_first)
    assert len(pd.read_csv(path)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_record_that_is_not_ours_is_other_options(tmp_path):
    (tmp_path / "simulation.json").write_text("not json")
    (tmp_path / "catalog.csv").write_text("id_str\n")
    with pytest.raises(ConfigError, match="already holds"):
        simulate.simulate_survey(tmp_path, n_galaxies=3)


def test_interrupted_survey_leaves_nothing(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate.simulate_survey(tmp_path / "a", n_galaxies=50, image_size_pix=32, on_galaxy=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_reported_once_a_galaxy(tmp_path):
    calls = []
    simulate.simulate_survey(tmp_path, n_galaxies=7, image_size_pix=32, on_galaxy=lambda: calls.append(1))
    assert len(calls) == 7


def test_record_says_what_was_made(catalog_path):
    record = json.loads((catalog_path.parent / "simulation.json").read_text())
    assert record["n_galaxies"] == 30
    assert record["look"]["name"] == "decals"
    assert record["schema"]["name"] == "gz_decals_dr5"


def test_fits_cubes_are_fluxes_with_sky_coordinates(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    path = simulate.simulate_survey(
        tmp_path, n_galaxies=4, image_size_pix=64, look=EMPTY_SKY, image_format="fits", kinds={"disk": 1}
    )
    for row in pd.read_csv(path).itertuples():
        with fits.open(path.parent / row.file_loc) as hdus:
            cube, header = hdus[0].data, hdus[0].header
        assert cube.shape == (3, 64, 64)
        assert np.isfinite(cube).all()
        assert header["BANDS"] == "grz"
        assert header["CRVAL1"] == pytest.approx(row.ra, abs=1e-5)
        assert header["CDELT2"] * 3600 == pytest.approx(row.pixel_scale_arcsec, rel=1e-3)
        assert 22.5 - 2.5 * math.log10(cube[1].sum()) == pytest.approx(row.magnitude, abs=0.25)


def test_png_holds_the_very_picture(tmp_path):
    path = simulate.simulate_survey(
        tmp_path, n_galaxies=2, image_size_pix=48, image_format="png", look="sdss"
    )
    picture, truth = simulate.simulate_galaxy(42, 1, look="sdss", image_size_pix=48)
    row = pd.read_csv(path).iloc[1]
    np.testing.assert_array_equal(np.asarray(Image.open(path.parent / row["file_loc"])), picture)
    assert row["axis_ratio"] == pytest.approx(truth["axis_ratio"], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_galaxies": 0}, "n_galaxies must be a whole number, at least 1; got 0"),
        ({"n_galaxies": 2.5}, "n_galaxies must be a whole number"),
        ({"image_size_pix": 8}, "image_size_pix must be a whole number, at least 32"),
        ({"seed": -1}, "seed must be a whole number, at least 0"),
        ({"volunteers": True}, "volunteers must be a whole number"),
        ({"num_workers": 0}, "num_workers must be a whole number"),
        ({"look": "kodak"}, "unknown look 'kodak'; expected one of"),
        ({"image_format": "gif"}, "unknown image_format 'gif'; expected one of"),
        ({"ring_fraction": 1.5}, "ring_fraction must be a number from 0 to 1"),
        ({"ring_fraction": math.nan}, "ring_fraction must be a number from 0 to 1"),
        ({"kinds": {"spirals": 1}}, "unknown kinds of galaxy"),
        ({"kinds": {"smooth": -1}}, "must be at least 0"),
        ({"kinds": {}}, "not all 0"),
    ],
)
def test_bad_options_are_refused_before_work(tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        simulate.simulate_survey(tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


# ---- volunteers


@pytest.mark.parametrize("name", schemas.names())
def test_votes_obey_every_public_tree(name):
    tree = schemas.get(name)
    for number, kind in enumerate(simulate.KINDS):
        votes = simulate.cast_votes(
            draw(kind, number), tree, np.random.default_rng(number), visibility=0.8, volunteers=40
        )
        assert (votes >= 0).all()
        for question in tree.questions:
            asked = votes[question.slice].sum()
            from_parents = [votes[tree.get_answer(parent).index] for parent in question.parents]
            if not question.parents:
                assert asked == 40
            else:  # a volunteer who gave two parent answers is asked once
                assert max(from_parents) <= asked <= min(40, sum(from_parents))
            if len({parent.rpartition("_")[0] for parent in question.parents}) == 1:
                assert asked == sum(from_parents)


def test_volunteers_number_about_what_was_asked(catalog):
    asked = catalog[schemas.get("gz_decals_dr5").questions[0].label_cols].sum(axis=1)
    assert asked.min() >= 1
    assert abs(asked.mean() - 40) < 4 * math.sqrt(40 / len(catalog))
    assert asked.min() < asked.max()


def test_probabilities_sum_to_one_and_are_never_zero():
    tree = schemas.get("gz_decals_dr5")
    for number, kind in enumerate(simulate.KINDS):
        probabilities = simulate.answer_probabilities(draw(kind, number), tree, visibility=0.3)
        assert (probabilities > 0).all()
        for question in tree.questions:
            assert probabilities[question.slice].sum() == pytest.approx(1)


def fraction(galaxy, label_col, visibility=1.0):
    tree = schemas.get("gz_decals_dr5")
    return simulate.answer_probabilities(galaxy, tree, visibility=visibility)[
        tree.get_answer(label_col).index
    ]


def test_answers_follow_the_truth():
    disk = dataclasses.replace(
        draw("disk", 1), arms=2, arm_strength=0.9, pitch_angle_deg=10.0, bar_strength=0.9, flocculence=0.2
    )
    assert fraction(disk, "smooth-or-featured-dr5_featured-or-disk") > 0.9
    assert fraction(disk, "has-spiral-arms-dr5_yes") > 0.9
    assert fraction(disk, "spiral-arm-count-dr5_2") > 0.7
    assert fraction(disk, "spiral-winding-dr5_tight") > 0.8
    assert fraction(dataclasses.replace(disk, pitch_angle_deg=33.0), "spiral-winding-dr5_loose") > 0.8
    assert fraction(disk, "bar-dr5_strong") > 0.8
    assert fraction(dataclasses.replace(disk, bar_strength=0.0), "bar-dr5_no") > 0.7
    assert fraction(dataclasses.replace(disk, bulge_to_total=0.0), "bulge-size-dr5_none") > 0.8
    assert fraction(dataclasses.replace(disk, bulge_to_total=0.55), "bulge-size-dr5_dominant") > 0.8
    round_one = dataclasses.replace(draw("smooth", 1), axis_ratio=0.98)
    assert fraction(round_one, "smooth-or-featured-dr5_smooth") > 0.85
    assert fraction(round_one, "how-rounded-dr5_round") > 0.85
    assert fraction(dataclasses.replace(round_one, axis_ratio=0.25), "how-rounded-dr5_cigar-shaped") > 0.85
    assert fraction(draw("edge-on", 1), "disk-edge-on-dr5_yes") > 0.85
    assert fraction(dataclasses.replace(disk, disturbance="merger"), "merging-dr5_merger") > 0.6


def test_what_is_hard_to_see_is_called_smooth():
    spiral = dataclasses.replace(
        draw("disk", 1), arms=2, arm_strength=0.5, bar_strength=0.0, ring_strength=0.0
    )
    seen = [
        fraction(spiral, "smooth-or-featured-dr5_featured-or-disk", visibility=v) for v in (0.0, 0.5, 1.0)
    ]
    assert seen == sorted(seen)
    assert seen[2] - seen[0] > 0.3


def test_votes_spread_more_than_binomial():
    tree = Schema.from_pairs({"bar": ["yes", "no"]})
    galaxy = dataclasses.replace(draw("disk", 3), bar_strength=0.2)
    rng = np.random.default_rng(0)
    yes = [simulate.cast_votes(galaxy, tree, rng, visibility=0.8, volunteers=40)[0] for _ in range(1500)]
    p = simulate.answer_probabilities(galaxy, tree, visibility=0.8)[0]
    assert np.mean(yes) == pytest.approx(40 * p, abs=0.6)
    expected = stats.betabinom(40, 20 * p, 20 * (1 - p)).var()
    assert np.var(yes) == pytest.approx(expected, rel=0.15)


def test_tree_of_ones_own_works_if_its_words_are_known():
    tree = Schema.from_pairs({"ring-mysurvey": ["yes", "no"], "bar-mysurvey": ["weak", "strong", "no"]})
    simulate.check_schema(tree)


def test_unknown_questions_and_answers_are_refused(tmp_path):
    with pytest.raises(SchemaError, match=r"question 'is-it-a-cat'; they can answer .*'bar'"):
        simulate.simulate_survey(tmp_path, schema=Schema.from_pairs({"is-it-a-cat": ["yes", "no"]}))
    with pytest.raises(SchemaError, match=r"answers \['maybe'\] to 'bar'.* they can answer .*'strong'"):
        simulate.simulate_survey(tmp_path, schema=Schema.from_pairs({"bar": ["yes", "maybe"]}))
    with pytest.raises(SchemaError, match="gz_decals_dr9"):
        simulate.simulate_survey(tmp_path, schema="gz_decals_dr9")


def test_weights_are_finite_for_many_galaxies():
    for number in range(200):
        galaxy = drawing.draw_galaxy(np.random.default_rng(number), median_radius_arcsec=6.0)
        for answers in volunteers.opinions_of(galaxy, number / 200).values():
            weights = np.array(list(answers.values()))
            assert np.isfinite(weights).all()
            assert (weights >= 0).all()
            assert weights.sum() > 0


# ---- galaxies


def test_kinds_come_in_the_asked_proportions():
    kinds = {"smooth": 1.0, "disk": 2.0, "merger": 1.0}
    counts = dict.fromkeys(simulate.KINDS, 0)
    rings = 0
    for number in range(1200):
        galaxy = drawing.draw_galaxy(
            np.random.default_rng(number), median_radius_arcsec=6.0, kinds=kinds, ring_fraction=0.25
        )
        counts[galaxy.kind] += 1
        rings += galaxy.kind == "disk" and galaxy.ring_strength > 0
    assert counts["edge-on"] == counts["artifact"] == 0
    assert (
        stats.chisquare([counts["smooth"], counts["disk"], counts["merger"]], [300, 600, 300]).pvalue > 1e-3
    )
    assert stats.binomtest(rings, counts["disk"], 0.25).pvalue > 1e-3


def test_every_class_and_parameter_range_is_reached():
    galaxies = [drawing.draw_galaxy(np.random.default_rng(n), median_radius_arcsec=6.0) for n in range(1500)]
    assert {galaxy.class_name for galaxy in galaxies} == set(simulate.CLASS_NAMES)
    assert {galaxy.arms for galaxy in galaxies} == {0, 1, 2, 3, 4, 5, 6}
    assert {galaxy.edge_on_bulge for galaxy in galaxies} == {"none", "rounded", "boxy"}
    assert {galaxy.artifact for galaxy in galaxies} == {"none", "star", "trail", "saturation", "glitch"}
    for galaxy in galaxies:
        assert 0 < galaxy.axis_ratio <= 1
        assert 0 <= galaxy.bulge_to_total <= 1
        assert 12 < galaxy.magnitude < 23
        assert galaxy.ring_radius >= galaxy.bar_length * (galaxy.ring_strength > 0)


def test_truth_is_the_same_whatever_the_look_and_size():
    _, near = simulate.simulate_galaxy(3, 4, look="decals", image_size_pix=64)
    _, sharp = simulate.simulate_galaxy(3, 4, look="hst", image_size_pix=96)
    for name in ("kind", "axis_ratio", "arms", "bulge_to_total", "position_angle_deg", "ring_strength"):
        assert near[name] == sharp[name]


# ---- pixels


@pytest.mark.parametrize("look", list(simulate.LOOKS))
def test_pictures_are_reproducible_and_dark_around_a_bright_centre(look):
    first, _ = simulate.simulate_galaxy(8, 2, look=look, kinds={"disk": 1})
    second, _ = simulate.simulate_galaxy(8, 2, look=look, kinds={"disk": 1})
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.shape == (128, 128, 3)
    assert np.median(first[:10]) < 40
    assert first[62:66, 62:66].mean() > 90
    if look == "euclid":
        assert np.ptp(first.astype(int), axis=2).max() == 0


def test_same_galaxy_fills_the_same_share_of_every_size():
    small, _ = simulate.simulate_galaxy(8, 2, look=EMPTY_SKY, image_size_pix=64, kinds={"smooth": 1})
    large, _ = simulate.simulate_galaxy(8, 2, look=EMPTY_SKY, image_size_pix=192, kinds={"smooth": 1})
    shares = [central_mask(luminance(picture), 40).mean() for picture in (small, large)]
    assert shares[0] == pytest.approx(shares[1], rel=0.2)


def test_galaxies_fill_about_the_central_half():
    widths = []
    for number in range(25):
        picture, _ = simulate.simulate_galaxy(1, number, look=EMPTY_SKY, kinds={"smooth": 1, "disk": 1})
        widths.append(2 * math.sqrt(central_mask(luminance(picture), 20).mean() / math.pi))
    assert 0.3 < np.median(widths) < 0.6
    assert max(widths) < 1


def test_measured_shape_follows_the_true_axis_ratio():
    measured, true = [], []
    for number in range(40):
        picture, truth = simulate.simulate_galaxy(2, number, look=EMPTY_SKY, kinds={"smooth": 1})
        grey = luminance(picture)
        rows, columns = np.nonzero(central_mask(grey, 40))
        width = np.linalg.eigvalsh(np.cov(np.stack([columns, rows])))
        measured.append(math.sqrt(width[0] / width[1]))
        true.append(truth["axis_ratio"])
    assert stats.spearmanr(measured, true)[0] > 0.95
    assert np.median(np.abs(np.subtract(measured, true))) < 0.08


def test_major_axis_points_where_the_truth_says():
    for number in range(8):
        picture, truth = simulate.simulate_galaxy(4, number, look=EMPTY_SKY, kinds={"edge-on": 1})
        rows, columns = np.nonzero(central_mask(luminance(picture), 40))
        _, axes = np.linalg.eigh(np.cov(np.stack([columns, rows])))
        measured = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
        assert abs((measured - truth["position_angle_deg"] + 90) % 180 - 90) < 4


def unwrapped(exposure):
    """r-band light on (radius, angle) in the galaxy's own plane, from 0.2 to 2.2 effective radii."""
    galaxy, image = exposure.galaxy, exposure.surface_brightness[..., 1]
    radius, angle = np.meshgrid(np.linspace(0.2, 2.2, 60), np.linspace(0, 2 * np.pi, 90), indexing="ij")
    u, v = radius * np.cos(angle), radius * np.sin(angle) * galaxy.axis_ratio
    turn = math.radians(galaxy.position_angle_deg)
    pixels = galaxy.effective_radius_arcsec / exposure.pixel_scale_arcsec
    middle = (image.shape[0] - 1) / 2
    rows = middle + pixels * (u * math.sin(turn) + v * math.cos(turn))
    columns = middle + pixels * (u * math.cos(turn) - v * math.sin(turn))
    return ndimage.map_coordinates(image, [rows, columns], order=1)


def bump(exposure):
    """How far the profile rises again after falling: rings do, smooth galaxies don't."""
    profile = np.median(unwrapped(exposure), axis=1)[:48]
    return np.max(profile / np.minimum.accumulate(profile)) - 1


def arm_power(exposure):
    """Share of the light that varies around circles."""
    polar = unwrapped(exposure)[12:48]
    return np.mean(polar.std(axis=1) / polar.mean(axis=1))


def test_rings_and_spirals_can_be_told_from_smooth_galaxies():
    smooth = [simulate.expose(6, n, look=EMPTY_SKY, kinds={"smooth": 1}) for n in range(25)]
    disks = [simulate.expose(6, n, look=EMPTY_SKY, kinds={"disk": 1}, ring_fraction=0.5) for n in range(60)]
    rings = [bump(e) for e in disks if e.galaxy.ring_strength > 0.5]
    spirals = [arm_power(e) for e in disks if e.galaxy.arms and e.galaxy.arm_strength > 0.5]
    assert min(len(rings), len(spirals)) >= 8
    assert np.median(rings) > 0.1 > np.quantile([bump(e) for e in smooth], 0.9)
    assert np.quantile(spirals, 0.25) > np.quantile([arm_power(e) for e in smooth], 0.75)


def test_arm_count_shows_in_the_light():
    found = 0
    for number in range(12):
        galaxy = dataclasses.replace(
            draw("disk", number, ring_fraction=0.0),
            arms=2 + number % 3,
            arm_strength=1.0,
            pitch_angle_deg=18.0,
            flocculence=0.0,
            knots=0,
            bar_strength=0.0,
            axis_ratio=1.0,
            position_angle_deg=0.0,
            dust=0.0,
        )
        light = simulate.render.render_galaxy(
            galaxy,
            np.random.default_rng(number),
            size_pix=128,
            pixel_scale_arcsec=galaxy.effective_radius_arcsec / 15,
        )
        exposure = dataclasses.replace(
            simulate.expose(0, 0),
            galaxy=galaxy,
            surface_brightness=light,
            pixel_scale_arcsec=galaxy.effective_radius_arcsec / 15,
        )
        power = np.abs(np.fft.rfft(unwrapped(exposure)[20:45], axis=1)).sum(axis=0)[1:9]
        found += int(np.argmax(power[1:]) + 2 == galaxy.arms)
    assert found >= 10


def test_old_galaxies_are_redder_than_young_ones():
    def redness(galaxy):
        light = simulate.render.render_galaxy(
            galaxy, np.random.default_rng(0), size_pix=48, pixel_scale_arcsec=0.8
        )
        return light[..., 2].sum() / light[..., 0].sum()

    disk = dataclasses.replace(draw("disk", 1), bulge_to_total=0.3)
    assert redness(dataclasses.replace(disk, youth=0.0)) > 2 * redness(dataclasses.replace(disk, youth=0.9))


@pytest.mark.parametrize("index", [1.0, 2.5, 4.0])
def test_half_the_light_of_a_sersic_profile_is_inside_its_half_light_radius(index):
    plane = profiles.Plane.of_frame(1201, pixel=0.1, angle_deg=20)
    light = profiles.sersic(plane, index=index)
    assert light[np.hypot(plane.u, plane.v) < 1].sum() == pytest.approx(0.5, abs=0.012)


def test_the_core_of_a_steep_profile_is_integrated_over_each_pixel():
    coarse = profiles.sersic(profiles.Plane.of_frame(45, pixel=0.2, angle_deg=0), index=4)
    fine = profiles.sersic(profiles.Plane.of_frame(45 * 9, pixel=0.2 / 9, angle_deg=0), index=4)
    rebinned = fine.reshape(45, 9, 45, 9).sum(axis=(1, 3))
    np.testing.assert_allclose(coarse[19:26, 19:26], rebinned[19:26, 19:26], rtol=0.03)


def test_every_kind_in_every_look_is_finite():
    for look in simulate.LOOKS:
        for kind in simulate.KINDS:
            for number in range(6):
                exposure = simulate.expose(12, number, look=look, image_size_pix=40, kinds={kind: 1})
                assert np.isfinite(exposure.surface_brightness).all()
                assert 0 <= exposure.visibility <= 1
                assert len(np.unique(exposure.picture())) > 10


def test_noise_is_that_of_the_look():
    exposure = simulate.expose(3, 1, look=EMPTY_SKY, image_size_pix=128, kinds={"edge-on": 1})
    ratio = exposure.pixel_scale_arcsec / EMPTY_SKY.native_pixel_arcsec
    corner = exposure.surface_brightness[:20, :20]
    expected = np.array(EMPTY_SKY.sky_noise) / max(ratio, 1)
    np.testing.assert_allclose(corner.std(axis=(0, 1)), expected, rtol=0.25)
