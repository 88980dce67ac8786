"""Every file in examples/ runs as a separate program, and prints what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

EXAMPLES = Path(__file__).parents[2] / "examples"

# The exact output of each example; a pattern where a figure depends on the machine.
PRINTS = {
    "basic_usage.py": r"""
billing reads seq 0, \d+ bytes: \{'order': 1, 'item': 'tea'\}
billing goes on: \[2, 3\]
shipping gets: tea
still unread by shipping: 2
refused: 2 more do not fit, 3 of 4 are held
the late one reads \[0, 1, 2\]
3 enqueued, 2 refused, 3 consumers
billing: 3 read, 0 unread
shipping: 1 read, 2 unread
late: 3 read, 0 unread
""",
    "advanced_usage.py": r"""
attentive reads \['first', 'second'\]
absent is told of 3 missed
absent reads 'lasting', having missed 3
attentive missed 1 and absent 3
audit trail: \['enqueue', 'dequeue'\]
attentive misses 1 more, held: 0
3 readers got 20000 messages each, the same: True, in order: True
memory in use at the end: \d+
""",
    "worker_pool.py": r"""
delivery 1 of broken.png: not a picture
delivery 2 of broken.png: not a picture
delivery 3 of broken.png: not a picture
500 jobs done, each once: True
dead letters: \['broken.png'\]
""",
    "request_response.py": r"""
3 clients, 200 requests each, sums: \[2646700, 2646700, 2646700\]
left over: 0 requests
""",
    "data_pipeline.py": r"""
50000 lines of 7 sensors, sum 1249975000, right: True
the fuller queue held \d+ bytes at most, within its limit: True
""",
    "sse_fan_out.py": r"""
no event is lacking: \[True, True, True\]
the one that came back goes on where it was: True
consumers left behind: 0
""",
    "logging_handler.py": r"""
logged 1000 records while the disk took none; memory in use is bounded: True
every record was written or counted as dropped: True - the last: record 999
and the log says so: True
""",
    "metrics.py": r"""
mpmc_enqueued_messages_total\{queue="orders"\} 3.0
mpmc_rejected_messages_total\{queue="orders"\} 1.0
mpmc_consumer_lag_messages\{consumer="billing",group="",queue="orders"\} 2.0
mpmc_consumer_lag_messages\{consumer="shipping",group="",queue="orders"\} 3.0
bytes held, as scraped: True
""",
}
PRINTS |= {
    "several_sources.py": r"""
127 messages, the first is 'alarm at the start'
alarm: 6 of 6, in order: True
job: 21 of 21, in order: True
report: 100 of 100, in order: True
""",
    "trio_program.py": r"""
cancelled, and nothing is lost: 0 unread
sums: \[19900, 19900, 19900\]
""",
    "journal_first.py": r"""
1000 written, 1000 replicated, 1000 acted upon
ran ahead of the journal: 0 times
""",
    "batch_writer.py": r"""
2006 rows in \d+ transactions, the largest of 500
""",
    "camera.py": r"""
fast: \d+ frames, the last is 29
slow: \d+ frames and \d+ passed over, the last is 29
""",
    "telemetry_bus.py": r"""
alarm: cellar.temperature is 80
alarm: read and missed are 3001 of 3001
recorder: read and missed are 6001 of 6001
display: \d+ shown, [1-9]\d* missed, of 2000
""",
}
ARGUMENTS = {"sse_fan_out.py": ["--self-test"]}


@pytest.mark.parametrize("name", PRINTS)
def test_example_prints_what_it_says(name, tmp_path):
    command = [sys.executable, "-W", "error", EXAMPLES / name, *ARGUMENTS.get(name, [])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(PRINTS[name].lstrip(), result.stdout), result.stdout


def test_every_example_is_run():
    assert {file.name for file in EXAMPLES.glob("*.py")} == set(PRINTS)


@pytest.mark.parametrize("name", PRINTS)
def test_an_example_is_short(name):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 80
