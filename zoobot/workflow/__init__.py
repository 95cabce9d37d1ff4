"""Guided runs, written once over the engine contract: finetune, train, predict, evaluate and more.

Each verb has a file of its name, with its function and its result, which can `report()` itself. It takes one
dataclass of options, of the file of the same name in `zoobot.options`, leaves a folder of results with a
record of how they came about, and returns what it made. Progress is told to the logger "zoobot".

Example:
    >>> from zoobot import workflow
    >>> result = workflow.finetune(  # doctest: +SKIP
    ...     workflow.FinetuneOptions(catalog="rings.csv", labels=("ring",), save_dir="results/rings")
    ... )
    >>> result.evaluation.scores["accuracy"]  # doctest: +SKIP
    0.87
"""

from zoobot.options.anomalies import AnomaliesOptions
from zoobot.options.calibrate import CalibrateOptions
from zoobot.options.campaign import CampaignOptions
from zoobot.options.cite import CiteOptions
from zoobot.options.convert import ConvertOptions
from zoobot.options.demo import DemoOptions
from zoobot.options.detect import DetectOptions
from zoobot.options.evaluate import EvaluateOptions
from zoobot.options.explain import ExplainOptions
from zoobot.options.explore import ExploreOptions
from zoobot.options.export import ExportOptions
from zoobot.options.fetch import FetchOptions
from zoobot.options.finetune import FinetuneOptions
from zoobot.options.info import InfoOptions
from zoobot.options.loop import LoopOptions
from zoobot.options.merge import MergeOptions
from zoobot.options.predict import ClusterOptions, PredictAnywhereOptions, PredictOptions
from zoobot.options.prioritise import PrioritiseOptions
from zoobot.options.push import PushOptions
from zoobot.options.rate import RateOptions
from zoobot.options.reduce import ReduceOptions
from zoobot.options.represent import RepresentOptions
from zoobot.options.schemas import SchemasOptions
from zoobot.options.similar import SimilarOptions
from zoobot.options.status import StatusOptions
from zoobot.options.train import TrainOptions
from zoobot.options.votes import VotesOptions
from zoobot.workflow.anomalies import AnomaliesResult, anomalies
from zoobot.workflow.calibrate import CalibrateResult, calibrate
from zoobot.workflow.campaign import CampaignResult, campaign, campaign_options
from zoobot.workflow.cite import CiteResult, cite
from zoobot.workflow.convert import ConvertResult, convert
from zoobot.workflow.dask import predict_anywhere, predict_on, predict_on_cluster
from zoobot.workflow.demo import DemoResult, demo
from zoobot.workflow.detect import DetectResult, detect
from zoobot.workflow.evaluate import Evaluation, evaluate
from zoobot.workflow.explain import ExplainResult, explain
from zoobot.workflow.explore import ExploreResult, explore
from zoobot.workflow.export import ExportResult, export
from zoobot.workflow.fetch import FetchResult, fetch
from zoobot.workflow.finetune import TrainingResult, finetune
from zoobot.workflow.info import InfoResult, info
from zoobot.workflow.loop import LoopResult, loop
from zoobot.workflow.merge import MergeResult, merge
from zoobot.workflow.predict import PredictResult, predict
from zoobot.workflow.prioritise import PrioritiseResult, prioritise
from zoobot.workflow.push import PushResult, push
from zoobot.workflow.rate import RateResult, rate
from zoobot.workflow.reduce import ReduceResult, reduce
from zoobot.workflow.represent import RepresentResult, represent
from zoobot.workflow.run_folder import resumed_options
from zoobot.workflow.schemas import SchemasResult, schemas
from zoobot.workflow.similar import SimilarResult, similar
from zoobot.workflow.status import StatusResult, status
from zoobot.workflow.train import train
from zoobot.workflow.votes import VotesResult, votes

__all__ = [
    "AnomaliesOptions",
    "AnomaliesResult",
    "CalibrateOptions",
    "CalibrateResult",
    "CampaignOptions",
    "CampaignResult",
    "CiteOptions",
    "CiteResult",
    "ClusterOptions",
    "ConvertOptions",
    "ConvertResult",
    "DemoOptions",
    "DemoResult",
    "DetectOptions",
    "DetectResult",
    "EvaluateOptions",
    "Evaluation",
    "ExplainOptions",
    "ExplainResult",
    "ExploreOptions",
    "ExploreResult",
    "ExportOptions",
    "ExportResult",
    "FetchOptions",
    "FetchResult",
    "FinetuneOptions",
    "InfoOptions",
    "InfoResult",
    "LoopOptions",
    "LoopResult",
    "MergeOptions",
    "MergeResult",
    "PredictAnywhereOptions",
    "PredictOptions",
    "PredictResult",
    "PrioritiseOptions",
    "PrioritiseResult",
    "PushOptions",
    "PushResult",
    "RateOptions",
    "RateResult",
    "ReduceOptions",
    "ReduceResult",
    "RepresentOptions",
    "RepresentResult",
    "SchemasOptions",
    "SchemasResult",
    "SimilarOptions",
    "SimilarResult",
    "StatusOptions",
    "StatusResult",
    "TrainOptions",
    "TrainingResult",
    "VotesOptions",
    "VotesResult",
    "anomalies",
    "calibrate",
    "campaign",
    "campaign_options",
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
    "predict_anywhere",
    "predict_on",
    "predict_on_cluster",
    "prioritise",
    "push",
    "rate",
    "reduce",
    "represent",
    "resumed_options",
    "schemas",
    "similar",
    "status",
    "train",
    "votes",
]
