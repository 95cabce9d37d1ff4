"""Which answer is explained, for which galaxies, and how."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.options.galaxies import ImagePlaceOptions
from zoobot.shared.options.images import ReadingOptions
from zoobot.shared.settings import setting

__all__ = ["ExplainingOptions"]


@dataclass(frozen=True, kw_only=True)
class ExplainingOptions(ReadingOptions, ImagePlaceOptions):
    """Which answer is explained, for which galaxies, and how."""

    title: ClassVar[str] = "Explanation"

    catalog: tuple[str, ...] = setting(
        MISSING,
        "table of galaxies, folder or archive of images, as for `zoobot predict`; or one image or more",
        metavar="FILE",
    )
    answer: str | None = setting(
        None,
        "a class, label or target; of a tree an answer such as bar-gz2_yes, or a question, whose most likely "
        "answer is meant; without it the most likely class or label, answer to the first question, or the "
        "only target",
        metavar="NAME",
    )
    method: tuple[Literal["integrated-gradients", "grad-cam"], ...] = setting(
        ("integrated-gradients", "grad-cam"),
        "integrated-gradients: what each pixel adds to the answer; grad-cam: the region it comes from",
    )
    baseline: Literal["black", "blurred"] = setting(
        "black",
        "what integrated gradients begin with: an empty sky, or the galaxy's light without its structure",
    )
    steps: int = setting(
        defaults.SALIENCY_STEPS,
        "integrated gradients: points between that and the image; up to four times as many where they do "
        "not add up",
        at_least=1,
    )
    n: int | None = setting(None, "most galaxies to explain, the first of the catalog", at_least=1)
    select: str | None = setting(
        None, "only galaxies whose column holds a value, e.g. split=test", metavar="COLUMN=VALUE"
    )

    def check(self) -> None:  # noqa: D102
        super().check()
        for name in ("catalog", "method"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                msg = f"--{name} must be one or more, all different, got {list(given)}"
                raise ConfigError(msg)
