"""Results of an audit for a model card: metadata that the Hugging Face hub reads, and a table, by group of people."""

import json
import math
from collections.abc import Iterator
from typing import Any

import polars as pl

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.labels import single_attributes
from plurality.analyses.audit.metrics import ALL_METRICS
from plurality.analyses.audit.slices import OVERALL
from plurality.escaping import visible

HUB_METRICS = ("accuracy", "log_loss", "brier", "ece")  # observed


def model_index(name: str, audit: Findings, least: int) -> str:
    """The value of `model-index`, as JSON: a result for all users and for each group that the audit shows.

    A group is the dataset's config, by which the hub's library tells results apart.

    name     of the model
    audit    of its predictions
    least    users below which a group is left out, whatever the audit shows
    """
    results = []
    for (attribute, level), rows in _groups(audit, least).group_by("attribute", "level", maintain_order=True):
        whole = attribute == OVERALL[0]
        group = "all users" if whole else f"{visible(str(attribute))}: {visible(str(level))}"
        metrics = [_metric(row) for row in rows.iter_rows(named=True)]
        dataset = {"type": "user-preferences", "name": f"comparisons by {group}", "config": group, "split": "test"}
        task = {"type": "text-classification", "name": "which of two responses a user prefers"}
        results.append({"task": task, "dataset": dataset, "metrics": metrics})
    return json.dumps([{"name": name, "results": results}], ensure_ascii=True, allow_nan=False)


def group_rows(audit: Findings, least: int) -> Iterator[tuple[str, str, str, str, str]]:
    """Group, accuracy and folded calibration error with intervals, users, what to know: a row a group.

    audit    of the model's predictions
    least    users below which a group is left out
    """
    rows = _groups(audit, least)
    for (attribute, level), part in rows.group_by("attribute", "level", maintain_order=True):
        by = {row["metric"]: row for row in part.iter_rows(named=True)}
        accuracy = by.get("accuracy")
        if accuracy is not None:
            group = "all users" if attribute == OVERALL[0] else f"{attribute}: {level}"
            ece = _between(by["ece"]) if "ece" in by else ""
            yield group, _between(accuracy), ece, f"{accuracy['n_users']:,}", accuracy["flag"] or ""


def _groups(audit: Findings, least: int) -> pl.DataFrame:
    """Rows of all users and of groups by one attribute that are shown and known."""
    table = audit.table.filter(
        ~pl.col("suppressed"), pl.col("metric").is_in(HUB_METRICS), pl.col("provenance") == "observed",
        pl.col("n_users") >= least, pl.col("estimate").is_finite(),
    )  # fmt: skip
    return pl.concat([table.filter(pl.col("attribute") == OVERALL[0]), single_attributes(table)])


def _metric(row: dict[str, Any]) -> dict[str, Any]:
    metric = next(m for m in ALL_METRICS if m.key == (row["metric"], row["provenance"]))
    known = {end: _number(row[end]) for end in ("lo", "hi") if row[end] is not None and math.isfinite(row[end])}
    about = {"n_users": row["n_users"]} | known
    title = f"{metric.title} ({metric.normalisation})"
    return {"type": metric.name, "value": _number(row["estimate"]), "name": title, "args": about}


def _number(value: float) -> float:
    return float(f"{value:.6g}")


def _between(row: dict[str, Any]) -> str:
    known = row["lo"] is not None and math.isfinite(row["lo"])
    return f"{row['estimate']:.3f}" + (f" [{row['lo']:.3f}, {row['hi']:.3f}]" if known else "")
