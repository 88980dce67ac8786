"""`python -m mpmc_queue demo --nats URL`, run as a command."""

import re
import signal
import subprocess
import sys

import pytest

from helpers import PATIENCE

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

COMMAND = [sys.executable, "-m", "mpmc_queue", "demo", "--nats"]


@pytest.mark.parametrize(("producers", "consumers"), [(2, 3), (1, 1), (3, 4)])
def test_the_counts_are_correct(nats, producers, consumers):
    sizes = ["--seconds", "2", "--producers", str(producers), "--consumers", str(consumers)]
    result = subprocess.run([*COMMAND, nats.url, *sizes], capture_output=True, text=True, timeout=3 * PATIENCE)
    assert (result.returncode, result.stderr) == (0, "")
    assert "All counts are correct" in result.stdout
    rows = re.findall(r"^  ([a-z0-9-]+) +([\d,]+) = +([\d,]+) \+ +([\d,]+) \+ +([\d,]+)", result.stdout, re.MULTILINE)
    assert len(rows) == consumers
    for _, *figures in rows:
        enqueued, read, missed, unread = (int(figure.replace(",", "")) for figure in figures)
        assert enqueued == read + missed + unread > 0
        assert read > 0


def test_ctrl_c_ends_it_with_the_summary(nats):
    process = subprocess.Popen(
        [*COMMAND, nats.url, "--seconds", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(r"^ +\d+\.\d s", line):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert (process.returncode, err) == (130, "")
    assert "Interrupted" in out
    assert "All counts are correct" in out


def test_a_missing_server_is_reported():
    result = subprocess.run([*COMMAND, "nats://127.0.0.1:1"], capture_output=True, text=True, timeout=3 * PATIENCE)
    assert result.returncode == 2
    assert "Cannot use NATS JetStream at nats://127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.stderr
