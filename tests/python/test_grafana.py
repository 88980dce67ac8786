"""The Grafana dashboard uses existing metrics and labels, and leaves none out."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mpmc_queue.metrics import METRICS

FILE = Path(__file__).parents[2] / "docs" / "grafana-dashboard.json"
DASHBOARD = json.loads(FILE.read_text(encoding="utf-8"))
LABELS = {metric.prometheus: {"queue", *metric.labels} for metric in METRICS}
QUERIES = [
    pytest.param(target["expr"], target["legendFormat"], id=f"{panel['title']}-{target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def metrics_in(expression: str) -> list[str]:
    return re.findall(r"\bmpmc_\w+", expression)


def labels_in(expression: str) -> set[str]:
    """The labels that a query selects or groups by."""
    grouped = [label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(", ")]
    return {*grouped, *re.findall(r'(\w+)=~?"', expression)}


@pytest.mark.parametrize(("expression", "legend"), QUERIES)
def test_a_query_uses_existing_metrics(expression: str, legend: str) -> None:
    metrics = metrics_in(expression)
    assert metrics
    for metric in metrics:
        assert metric in LABELS
        assert labels_in(expression) | set(re.findall(r"{{(\w+)}}", legend)) <= LABELS[metric]
        # Only the rate of a counter is meaningful, and only a counter has one.
        assert metric.endswith("_total") == (f"rate({metric}" in expression)
    assert expression.count("(") == expression.count(")")


def test_the_variable_lists_the_queues() -> None:
    (queue,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "queue"]
    assert queue["definition"] == queue["query"]["query"] == "label_values(mpmc_closed, queue)"


def test_every_metric_is_shown() -> None:
    assert {metric for query in QUERIES for metric in metrics_in(str(query.values[0]))} == set(LABELS)


def test_panels_do_not_overlap() -> None:
    cells: list[tuple[int, int]] = []
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells += [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells))


def test_the_panels_have_distinct_ids() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
