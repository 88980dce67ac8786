"""The benchmarks run and report. Their figures are not judged here, because the machine may be busy."""

import gc
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpmc_queue import _mpmc_queue
from mpmc_queue.__main__ import main
from mpmc_queue.cli import bench

pytestmark = pytest.mark.thread_unsafe(reason="starts processes, and switches the garbage collector off")

ROOT = Path(__file__).parents[2]
LIMITS = {
    "enqueue": 2.2,
    "get_nowait": 1.5,
    "put": None,
    "get": None,
    "read": 2.7,
    "enqueue_batch(1000)": 0.35,
    "get_batch(1000)": 0.25,
    "read_batch(1000)": 2.0,
    "fan-out to 1, a delivery": 1.2,
    "fan-out to 2, a delivery": 1.0,
    "fan-out to 4, a delivery": 0.8,
    "fan-out to 16, a delivery": 0.7,
    "thread to thread": 1.3,
    "wake-up (median)": 1.2,
    "aread": 1.0,
}
VERDICT = r"(?:\d+\.\dx (?:slower|faster) than|as fast as)"
FIGURES = ("ns", "peer_ns", "ratio")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=100, env=environment)


def case(limit: float | None) -> bench.Case:
    return bench.Case("ours", lambda: 30.0, "theirs", lambda: 20.0, limit)


def refuse(*arguments: object) -> None:
    raise AssertionError("nothing should be measured")


def test_bench_reports_every_case(tmp_path):
    file = tmp_path / "figures.json"
    result = run("-m", "mpmc_queue", "bench", "--rounds", "2", "--json", str(file))
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(file.read_text())
    cases = document["cases"]
    assert [case["name"] for case in cases] == [case.name for case in bench.cases()]
    for case in cases:
        assert all(case[figure] > 0 for figure in FIGURES), case
        assert any(line.startswith(case["name"]) and case["peer"] in line for line in result.stdout.splitlines())
    words = re.compile(rf"\d[,.\d]* +\d[,.\d]* +{VERDICT} \S")
    assert len(words.findall(result.stdout)) == len(cases)
    assert document["python"] in result.stdout
    assert all(scale["value"] > 0 and scale["name"] in result.stdout for scale in document["scaling"])
    assert bool(document["scaling"]) != bench.has_gil()
    assert 0 < document["bytes_per_message"] * 1000 < _mpmc_queue.DEFAULT_MAX_BYTES


def test_limits_are_for_developers(tmp_path):
    """The limits that we set for ourselves are not figures for users."""
    assert {case.name: case.limit for case in bench.cases()}.items() >= LIMITS.items()
    file = tmp_path / "figures.json"
    for_users = run("-m", "mpmc_queue", "bench", "--rounds", "1", "--json", str(file))
    assert for_users.returncode == 0
    assert not re.search(r"limit|over\b", for_users.stdout)
    assert "limit" not in file.read_text()
    for_developers = run("-m", "mpmc_queue", "bench", "--rounds", "1", "--limits", "--json", str(file))
    assert re.search(r"ratio +limit$", for_developers.stdout, re.MULTILINE)
    found = {case["name"]: case["limit"] for case in json.loads(file.read_text())["cases"]}
    assert found.items() >= LIMITS.items()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [100, 70, 40])
def test_the_peer_is_shown_at_every_width(columns):
    from test_demo import on_a_terminal

    text = on_a_terminal([sys.executable, "-m", "mpmc_queue", "bench", "--rounds", "1"], columns).replace("\r", "")
    table = text.partition("instead")[2].partition("1000 messages")[0]
    assert len(re.findall(rf" {VERDICT} \w", text)) == len(bench.cases())
    assert any("SimpleQueue.put" in line for line in table.splitlines())
    assert max(map(len, table.splitlines()[1:])) <= columns
    assert ("ns per message" in text) == (columns == 100)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(2.0, "2.0x slower than theirs"), (0.25, "4.0x faster than theirs"), (1.04, "as fast as theirs")],
)
def test_a_ratio_is_described_in_words(ratio, words):
    assert bench.compared(ratio, "theirs").strip() == words


def test_the_long_version_runs(tmp_path):
    file = tmp_path / "figures.json"
    result = run(str(ROOT / "benches/python"), "--rounds", "1", "--held", "20000", "--json", str(file))
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(file.read_text())
    for case in (*document["cases"], *document["beside"]):
        assert all(case[figure] > 0 for figure in FIGURES), case
    assert {"put", "get", "await get"} <= {case["name"] for case in document["beside"]}
    assert document["figures"]


def test_the_rounds_run_as_tests():
    pytest.importorskip("pytest_benchmark")
    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-disable", str(ROOT / "benches/python"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def test_a_debug_build_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(_mpmc_queue, "_IS_DEBUG_BUILD", True)
    monkeypatch.setattr(bench, "measure", refuse)
    assert main(["bench"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "debug build" in output.err
    assert "make build" in output.err


def test_a_plot_without_matplotlib_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_mpmc_queue, "_IS_DEBUG_BUILD", False)
    monkeypatch.setattr(bench, "is_installed", lambda name: False)
    monkeypatch.setattr(bench, "measure", refuse)
    assert main(["bench", "--plot", str(tmp_path / "plot.png")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_plot_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    script = (
        "import sys; from mpmc_queue.cli.bench import Case, Result; from mpmc_queue.cli.bench_plot import draw;"
        "case = Case('ours', float, 'theirs', float, 2.0); draw([Result(case, 30.0, 20.0)], sys.argv[1], 'title', limits=True)"
    )
    file = tmp_path / "plot.png"
    result = run("-c", script, str(file))
    assert result.returncode == 0, result.stderr
    assert file.read_bytes().startswith(b"\x89PNG")


def test_peers_that_are_not_installed_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(_mpmc_queue, "_IS_DEBUG_BUILD", False)
    monkeypatch.setattr(bench, "is_installed", lambda name: False)
    assert {case.name: case.limit for case in bench.cases()} == LIMITS
    monkeypatch.setattr(bench, "measure", lambda cases, rounds: [])
    assert main(["bench"]) == 0
    assert "janus is not installed: left out.\nculsans is not installed: left out.\n" in capsys.readouterr().out


def test_the_fastest_round_counts():
    times = iter([3.0, 1.0, 2.0])
    measured = bench.Case("ours", lambda: next(times), "theirs", lambda: 4.0)
    (result,) = bench.measure([measured], range(3))
    assert (result.ns, result.peer_ns, result.ratio) == (1.0, 4.0, 0.25)


def test_what_two_cases_share_is_measured_once():
    runs = []
    shared = case(1.0).peer_round
    first = bench.Case("first", lambda: 1.0, "shared", lambda: runs.append(shared()) or 1.0)
    second = bench.Case("second", lambda: 1.0, "shared", first.peer_round)
    bench.measure([first, second], range(5))
    assert len(runs) == 5


def test_a_case_runs_in_every_nth_round():
    runs = []
    seldom = bench.Case("seldom", lambda: runs.append("ours") or 1.0, "theirs", lambda: 1.0, every=3)
    bench.measure([seldom], range(7))
    assert len(runs) == 3


def test_the_garbage_collector_is_off_only_while_it_measures():
    seen = []
    looking = bench.Case("ours", lambda: float(seen.append(gc.isenabled()) or 1), "theirs", lambda: 1.0)
    assert gc.isenabled()
    bench.measure([looking], range(1))
    assert seen == [False]
    assert gc.isenabled()


@pytest.mark.parametrize(("limit", "over"), [(1.4, True), (1.5, False), (None, False)])
def test_figures_over_their_limit_are_marked(limit, over):
    out = io.StringIO()
    bench.show(bench.measure([case(limit)], range(1)), out, limits=True)
    assert out.getvalue().endswith("over\n") == over


def test_ctrl_c_ends_it_without_a_traceback(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_mpmc_queue, "_IS_DEBUG_BUILD", False)
    monkeypatch.setattr(bench, "measure", interrupt)
    assert main(["bench", "--seconds", "1"]) == 130
    assert capsys.readouterr().out.endswith("Interrupted.\n")


def test_a_file_that_cannot_be_written_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(_mpmc_queue, "_IS_DEBUG_BUILD", False)
    monkeypatch.setattr(bench, "measure", lambda cases, rounds: [])
    file = tmp_path / "nowhere" / "figures.json"
    assert main(["bench", "--json", str(file)]) == 1
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--rounds", "0"), ("--seconds", "-1")])
def test_a_bad_number_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert f"argument {arguments[0]}: {arguments[1]!r} is not" in capsys.readouterr().err
