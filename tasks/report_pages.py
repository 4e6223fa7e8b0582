"""The model card, and the report's two copies: with sample users for the owner of the data, and without them for MLflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

import numpy as np

from freqd.config import RunConfig
from freqd.data.interactions import Split
from freqd.data.item_table import ItemTable
from freqd.embeddings import TrainedModel
from freqd.evaluate import Evaluation
from freqd.pseudonym import pseudonym
from freqd.report.run import html
from freqd.report.run.card import card
from freqd.report.run.figures_groups import COMPARED
from freqd.report.run_result import RunResult
from freqd.report.samples import Samples, SampleSource, draw_samples
from freqd.storage.files import write_atomic
from tasks.mlops import tracking
from tasks.mlops.model_source import WHERE
from tasks.run_context import RunContext

CARD = "model-card.md"


def write_pages(context: RunContext, config: RunConfig, result: RunResult, images: Mapping[str, bytes]) -> None:
    """The report with its sample users in the run's folder, and without them in MLflow, where others may read it."""
    samples = _samples(context, config, result) if config.report.samples else None
    file = context.folder / "samples.json"
    if samples is None:
        file.unlink(missing_ok=True)
    else:
        write_atomic(file, json.dumps(samples.as_json(), indent=1))
    write_atomic(context.folder / "report.html", html.render(result, images, samples))
    write_atomic(context.folder / CARD, card(result))
    tracking.log_text(context.mlflow_run_id, card(result), CARD)
    tracking.log_text(context.mlflow_run_id, html.render(result, images), "report.html")


def _samples(context: RunContext, config: RunConfig, result: RunResult) -> Samples:
    """Users under pseudonyms, the same ones for the same data and seed."""
    store, refs, salt = context.workspace.store, result.artifacts, context.workspace.salt
    titles = refs.get("items.titles")
    source = SampleSource(
        split=store.open(refs["ingest.split"], Split),
        config=config.evaluate,
        evaluation=store.open(refs["evaluate.student"], Evaluation),
        models={
            role.key: store.open(refs[WHERE[role.key]], TrainedModel).scorer
            for role in COMPARED
            if result.metrics.of(role.key) is not None
        },
        titles=None if titles is None else store.open(titles, ItemTable),
        pseudonym=partial(pseudonym, salt),
    )
    return draw_samples(source, config.report.samples, np.random.default_rng(config.seed))
