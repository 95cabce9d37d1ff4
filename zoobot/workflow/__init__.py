"""Guided runs, written once over the engine contract: finetune, train, predict, evaluate and more.

Each takes one options dataclass of `zoobot.shared.config`, leaves a folder of results with a record of how
they came about, and returns what it made. Progress is told to the logger "zoobot".

Example:
    >>> from zoobot import workflow
    >>> from zoobot.shared.config import FinetuneOptions
    >>> result = workflow.finetune(  # doctest: +SKIP
    ...     FinetuneOptions(catalog="rings.csv", labels=("ring",), save_dir="results/rings")
    ... )
    >>> result.evaluation.scores["accuracy"]  # doctest: +SKIP
    0.87
"""

from zoobot.workflow.anomaly_search import AnomaliesResult, anomalies
from zoobot.workflow.calibrating import CalibrateResult, calibrate
from zoobot.workflow.dask_prediction import predict_on, predict_on_cluster
from zoobot.workflow.demonstration import DemoResult, demo
from zoobot.workflow.evaluation import Evaluation, evaluate
from zoobot.workflow.explaining import ExplainResult, explain
from zoobot.workflow.exploring import ExploreResult, explore
from zoobot.workflow.exporting import ConvertResult, ExportResult, convert, export
from zoobot.workflow.looping import LoopResult, loop
from zoobot.workflow.part_merging import merge
from zoobot.workflow.prediction import predict
from zoobot.workflow.prediction_result import PredictResult
from zoobot.workflow.prioritising import PrioritiseResult, prioritise
from zoobot.workflow.rating import RateResult, rate
from zoobot.workflow.reducing import ReduceResult, reduce
from zoobot.workflow.representing import RepresentResult, represent
from zoobot.workflow.resuming import resumed_options
from zoobot.workflow.similarity_search import SimilarResult, similar
from zoobot.workflow.training import TrainingResult, finetune, train

__all__ = [
    "AnomaliesResult",
    "CalibrateResult",
    "ConvertResult",
    "DemoResult",
    "Evaluation",
    "ExplainResult",
    "ExploreResult",
    "ExportResult",
    "LoopResult",
    "PredictResult",
    "PrioritiseResult",
    "RateResult",
    "ReduceResult",
    "RepresentResult",
    "SimilarResult",
    "TrainingResult",
    "anomalies",
    "calibrate",
    "convert",
    "demo",
    "evaluate",
    "explain",
    "explore",
    "export",
    "finetune",
    "loop",
    "merge",
    "predict",
    "predict_on",
    "predict_on_cluster",
    "prioritise",
    "rate",
    "reduce",
    "represent",
    "resumed_options",
    "similar",
    "train",
]
