"""Deep learning for galaxy morphology, on PyTorch or TensorFlow.

Names are looked up in `_HOMES` when they are first used, so that `import zoobot` stays quick and light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoobot.moved import find_moved_modules
from zoobot.version import __version__

if TYPE_CHECKING:
    from zoobot.front.listing import models
    from zoobot.front.model import load
    from zoobot.front.verbs import (
        anomalies,
        calibrate,
        campaign,
        cite,
        convert,
        demo,
        detect,
        evaluate,
        explain,
        explore,
        export,
        fetch,
        finetune,
        info,
        loop,
        merge,
        predict,
        prioritise,
        push,
        rate,
        reduce,
        represent,
        schemas,
        similar,
        status,
        train,
        votes,
    )
    from zoobot.shared.engine import load_engine
    from zoobot.shared.errors import ZoobotError

__all__ = [
    "ZoobotError",
    "__version__",
    "anomalies",
    "calibrate",
    "campaign",
    "cite",
    "convert",
    "demo",
    "detect",
    "evaluate",
    "explain",
    "explore",
    "export",
    "fetch",
    "finetune",
    "info",
    "load",
    "load_engine",
    "loop",
    "merge",
    "models",
    "predict",
    "prioritise",
    "push",
    "rate",
    "reduce",
    "represent",
    "schemas",
    "similar",
    "status",
    "train",
    "votes",
]

#: Name → the module that has it; a name may also be that of a module here.
_HOMES = {
    "ZoobotError": "zoobot.shared.errors",
    "load": "zoobot.front.model",
    "load_engine": "zoobot.shared.engine",
    "models": "zoobot.front.listing",
    "shared": "zoobot.shared",
    "sklearn": "zoobot.sklearn",
}

#: The commands of the command line, each a function with the same options.
_VERBS = (
    "anomalies",
    "calibrate",
    "campaign",
    "cite",
    "convert",
    "demo",
    "detect",
    "evaluate",
    "explain",
    "explore",
    "export",
    "fetch",
    "finetune",
    "info",
    "loop",
    "merge",
    "predict",
    "prioritise",
    "push",
    "rate",
    "reduce",
    "represent",
    "schemas",
    "similar",
    "status",
    "train",
    "votes",
)
_HOMES |= dict.fromkeys(_VERBS, "zoobot.front.verbs")

find_moved_modules()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoobot' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    found = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
