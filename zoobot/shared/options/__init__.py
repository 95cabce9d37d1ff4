"""The groups that the options of guided runs are made of: one dataclass for each heading of the help."""

from zoobot.shared.options.choosing import ChoosingOptions, RoundsOptions
from zoobot.shared.options.cluster import ClusterOptions
from zoobot.shared.options.engine import EngineOptions
from zoobot.shared.options.explaining import ExplainingOptions
from zoobot.shared.options.exploring import ExploreOptions
from zoobot.shared.options.finding import AnomaliesOptions, RateOptions
from zoobot.shared.options.galaxies import CampaignOptions, CatalogOptions, SplitOptions
from zoobot.shared.options.images import (
    AugmentationOptions,
    ImageOptions,
    ReadingOptions,
    TurnOptions,
    ViewOptions,
)
from zoobot.shared.options.learning import CalibrationOptions, LearningOptions, WholeModelOptions
from zoobot.shared.options.mixture import MixtureOptions
from zoobot.shared.options.representing import RepresentOptions
from zoobot.shared.options.results import RunFolderOptions
from zoobot.shared.options.similar import ReduceOptions, SimilarOptions
from zoobot.shared.options.streaming import StreamingOptions
from zoobot.shared.options.task import TargetOptions, TaskOptions

__all__ = [
    "AnomaliesOptions",
    "AugmentationOptions",
    "CalibrationOptions",
    "CampaignOptions",
    "CatalogOptions",
    "ChoosingOptions",
    "ClusterOptions",
    "EngineOptions",
    "ExplainingOptions",
    "ExploreOptions",
    "ImageOptions",
    "LearningOptions",
    "MixtureOptions",
    "RateOptions",
    "ReadingOptions",
    "ReduceOptions",
    "RepresentOptions",
    "RoundsOptions",
    "RunFolderOptions",
    "SimilarOptions",
    "SplitOptions",
    "StreamingOptions",
    "TargetOptions",
    "TaskOptions",
    "TurnOptions",
    "ViewOptions",
    "WholeModelOptions",
]
