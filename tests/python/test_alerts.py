"""The alert rules use existing metrics and labels, and each fires when it should, by Prometheus's own tool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mpmc_queue.metrics import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "prometheus-alerts.yml"
TESTS = ROOT / "tests" / "prometheus" / "alerts.test.yml"
LABELS = {metric.prometheus: {"queue", *metric.labels} for metric in METRICS}
ALERTS = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in ALERTS])
def test_an_alert_uses_existing_metrics(rule: str) -> None:
    expression = rule[rule.index("expr:") : rule.index("labels:")]
    metrics = re.findall(r"\bmpmc_\w+", expression)
    assert metrics
    labels: set[str] = set()
    for metric in metrics:
        assert metric in LABELS
        labels |= LABELS[metric]
        # Only the increase of a counter is meaningful, and only a counter has one.
        assert metric.endswith("_total") == bool(re.search(rf"(rate|increase)\({metric}\b", expression))
    assert set(re.findall(r"\$labels\.(\w+)", rule)) <= labels


@pytest.mark.parametrize("alert", [name for name, _ in ALERTS])
def test_every_alert_has_a_test_that_it_fires_and_one_that_it_does_not(alert: str) -> None:
    tests = TESTS.read_text(encoding="utf-8")
    assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", tests)
    assert re.search(rf"alertname: {alert}\n +exp_alerts:\n", tests)


@pytest.mark.thread_unsafe(reason="starts processes")
@pytest.mark.parametrize("arguments", [("check", "rules", RULES), ("test", "rules", TESTS)], ids=["check", "test"])
def test_promtool_accepts_the_rules(arguments: tuple[str | Path, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: Debian has it in the package prometheus")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
