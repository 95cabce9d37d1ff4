"""The one order of imports that matters: triton before TensorFlow, where both are installed.

Both bring a copy of LLVM. If TensorFlow's is loaded first, loading triton's ends the whole process, and no
`except` can catch that. Triton comes with the CUDA build of torch, which imports it late and unasked.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from zoobot.shared.errors import ConfigError

__all__ = ["must_load_triton", "refuse_late_triton"]


def must_load_triton() -> bool:
    """Whether triton should be imported now, before TensorFlow is: it is installed, and there is still time.

    Example:
        >>> must_load_triton() in (True, False)
        True
    """
    waiting = "triton" not in sys.modules and sys.modules.get("tensorflow") is None
    return waiting and find_spec("triton") is not None


def refuse_late_triton() -> None:
    """Raise where triton can no longer be imported, for those whose framework will import it sooner or later.

    Raises:
        ConfigError: If TensorFlow was imported before triton, and triton is installed.
    """
    late = "triton" not in sys.modules and sys.modules.get("tensorflow") is not None
    if late and find_spec("triton") is not None:
        msg = (
            "TensorFlow was imported before triton, which PyTorch will need: loaded in that order, they end "
            "the process. Start Python again and import zoobot.pytorch (or triton) before tensorflow"
        )
        raise ConfigError(msg)
