"""Both engines keep one contract: same modules, same names, same signatures, same types."""

import inspect

import pytest

from zoobot.shared.engine import ENGINES, MIRRORED
from zoobot.shared.explaining.explanations import ExplainKeywords
from zoobot.shared.predicting.run import PredictKeywords, RepresentKeywords


@pytest.mark.parametrize("module", MIRRORED)
def test_engines_mirror_each_other(both_engines, mirror, module):
    first, second = both_engines.values()
    assert mirror.differences(first, second, [module]) == []


def test_an_engine_offers_its_mirrored_modules(both_engines):
    for engine in both_engines.values():
        assert set(MIRRORED) <= set(engine.__all__)


def test_every_exception_is_still_needed(both_engines, mirror):
    """An exception that nobody uses any more would hide the next drift."""
    used = set()
    for engine in both_engines.values():
        for module in MIRRORED:
            for name in getattr(engine, module).__all__:
                member = getattr(getattr(engine, module), name)
                used |= set(mirror._members(member)) if inspect.isclass(member) else set()
    assert sorted(mirror.EXEMPT - used) == []


def test_the_contract_names_all_engines(both_engines):
    assert list(both_engines) == list(ENGINES)


@pytest.mark.parametrize(
    ("module", "function", "declared"),
    [
        ("predict", "predict", PredictKeywords),
        ("represent", "represent", RepresentKeywords),
        ("saliency", "explain", ExplainKeywords),
    ],
)
def test_keywords_of_a_catalog_run_are_those_declared(both_engines, module, function, declared):
    """Recipes take all of them, and the contract shows them to editors."""
    for engine in both_engines.values():
        parameters = inspect.signature(getattr(getattr(engine, module), function)).parameters.values()
        keywords = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
        assert keywords == {name: hint.__forward_arg__ for name, hint in declared.__annotations__.items()}
