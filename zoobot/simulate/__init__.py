"""A simulated survey: galaxies of known structure, seen by a telescope, judged by volunteers.

structure    what a galaxy is
drawing      galaxies at random
profiles     how light is laid out: Sérsic bodies, spirals, bars, rings
colours      stellar populations and dust in three bands
disks        disks with arms, rings, bars and knots
tides        what mergers do
render       a galaxy's light, from all of these
scene        the sky around it, blurring, noise and faults
looks        the surveys that can be imitated
exposure     all of that for one galaxy
opinions     what volunteers think of it
volunteers   their votes down a decision tree
image_files  pictures and FITS cubes
survey       many galaxies: images and catalog on disk
"""

from zoobot.simulate.drawing import CLASS_NAMES, KINDS, Galaxy, draw_galaxy
from zoobot.simulate.exposure import Exposure, expose, simulate_galaxy
from zoobot.simulate.scene import LOOKS, Look, get_look
from zoobot.simulate.survey import simulate_survey
from zoobot.simulate.volunteers import answer_probabilities, cast_votes, check_schema

__all__ = [
    "CLASS_NAMES",
    "KINDS",
    "LOOKS",
    "Exposure",
    "Galaxy",
    "Look",
    "answer_probabilities",
    "cast_votes",
    "check_schema",
    "draw_galaxy",
    "expose",
    "get_look",
    "simulate_galaxy",
    "simulate_survey",
]
