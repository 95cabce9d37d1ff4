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

from zoobot.workflow.anomalies import AnomaliesResult, anomalies
from zoobot.workflow.calibrate import CalibrateResult, calibrate
from zoobot.workflow.dask import predict_on, predict_on_cluster
from zoobot.workflow.demo import DemoResult, demo
from zoobot.workflow.evaluate import Evaluation, evaluate
from zoobot.workflow.explain import ExplainResult, explain
from zoobot.workflow.explore import ExploreResult, explore
from zoobot.workflow.export import ConvertResult, ExportResult, convert, export
from zoobot.workflow.finetune import TrainingResult, finetune, train
from zoobot.workflow.loop import LoopResult, loop
from zoobot.workflow.parts import merge
from zoobot.workflow.predict import PredictResult, predict
from zoobot.workflow.prioritise import PrioritiseResult, prioritise
from zoobot.workflow.rate import RateResult, rate
from zoobot.workflow.reduce import ReduceResult, reduce
from zoobot.workflow.represent import RepresentResult, represent
from zoobot.workflow.run_folder import resumed_options
from zoobot.workflow.similar import SimilarResult, similar

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
