"""The command line and the demo, as a user runs them."""

import errno
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from mpmc_queue import __version__
from mpmc_queue.__main__ import _parser, main
from mpmc_queue.cli import demo

pytestmark = pytest.mark.thread_unsafe(reason="starts processes and sends signals")

COMMAND = [sys.executable, "-m", "mpmc_queue"]
COUNTS = re.compile(r"^  (\S+) +([\d,]+) = +([\d,]+) \+ +([\d,]+) \+ +([\d,]+)   (.*)$", re.MULTILINE)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=environment)


def counts(output: str) -> dict[str, tuple[int, int, int, int]]:
    """For each consumer in the summary: enqueued, read, missed, unread."""
    found = {}
    for name, *figures, verdict in COUNTS.findall(output):
        assert verdict == "correct"
        enqueued, read, missed, unread = (int(figure.replace(",", "")) for figure in figures)
        found[name] = (enqueued, read, missed, unread)
    return found


def test_demo_ends_with_counts_that_are_correct():
    result = run("demo", "--seconds", "2")
    assert (result.returncode, result.stderr) == (0, "")
    consumers = counts(result.stdout)
    assert list(consumers) == ["fast", "steady", "slow"]
    for enqueued, read, missed, unread in consumers.values():
        assert enqueued == read + missed + unread > 0
    assert consumers["slow"][2] > 0, "the slow consumer is there to miss messages"
    assert result.stdout.endswith("All counts are correct: enqueued = read + missed + unread for every consumer.\n")


def test_demo_shows_figures_while_it_runs():
    output = run("demo", "--seconds", "1").stdout
    line = re.compile(r"^ +\d\.\d s +[\d,]+/s +[\d,]+/s +[\d,]+ KiB \(\d+ %\) +\d\.\d\d s +[\d,]+$", re.MULTILINE)
    assert len(line.findall(output)) >= 4
    assert "\x1b" not in output, "no terminal, no escape sequences"


@pytest.mark.parametrize(("producers", "consumers"), [(1, 1), (1, 2), (5, 6)])
def test_demo_accepts_other_numbers(producers, consumers):
    result = run("demo", "--seconds", "0.5", "--producers", str(producers), "--consumers", str(consumers))
    assert (result.returncode, result.stderr) == (0, "")
    assert len(counts(result.stdout)) == consumers


def test_ctrl_c_ends_the_demo_with_its_summary():
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Also if the parent process ignores the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    with process:
        while not re.match(r" +\d", process.stdout.readline()):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert "Interrupted after" in output
    assert len(counts(output)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_web_opens_the_dashboard_until_ctrl_c(tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [*COMMAND, "demo", "--web"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": str(browser)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    with process:
        url = process.stdout.readline().removeprefix("The dashboard is at ").strip()
        while not re.match(r" +\d", process.stdout.readline()):
            assert process.poll() is None
        assert opened.read_text().strip() == url
        with urllib.request.urlopen(f"{url}api/messages?queue=0", timeout=30) as response:
            assert "'producer " in json.load(response)["messages"][0]["payload"]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert len(counts(output)) == 3


def test_ctrl_c_while_the_dashboard_closes_does_not_keep_it_open():
    closed: list[bool] = []

    class Impatient:
        def close(self) -> None:
            closed.append(True)
            if len(closed) < 3:
                raise KeyboardInterrupt

    demo._close(Impatient())  # type: ignore[arg-type]
    assert len(closed) == 3


def test_web_listens_at_the_given_address():
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    result = run("demo", "--web", "--host", "localhost", "--port", str(port), "--seconds", "0.3")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"The dashboard is at http://127.0.0.1:{port}/\n")


def test_web_for_other_machines_prints_the_token():
    result = run("demo", "--web", "--host", "0.0.0.0", "--seconds", "0.3")
    assert result.returncode == 0
    assert re.match(r"The dashboard is at http://127\.0\.0\.1:\d+/#token=\S{32,}\n", result.stdout)
    assert "From other machines, use the name of this one in place of 127.0.0.1" in result.stdout


def test_a_port_in_use_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("demo", "--web", "--port", str(port))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"The dashboard cannot listen at 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}: "
        "take another --port, or leave it out for one that is free\n"
    )


def test_an_address_of_another_machine_is_one_line():
    result = run("demo", "--web", "--host", "192.0.2.1")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("The dashboard cannot listen at 192.0.2.1:0: ")


@pytest.mark.parametrize("arguments", [("--port", "8080"), ("--host", "localhost")])
def test_host_and_port_need_web(arguments, capsys):
    assert main(["demo", *arguments]) == 2
    assert capsys.readouterr() == ("", "--host and --port are for --web: pass --web, too\n")


def test_exit_code_is_1_when_a_count_is_not_correct(monkeypatch):
    monkeypatch.setattr(demo.Demo, "enqueued", property(lambda demo: sum(demo._enqueued) + 1))
    out = io.StringIO()
    assert demo.run(seconds=0.3, producers=1, consumers=2, out=out) == 1
    assert "off by -1" in out.getvalue()
    assert out.getvalue().endswith("The counts are not correct.\n")


def test_exit_code_is_1_when_a_thread_fails(monkeypatch):
    def fail(self, index, consumer):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(demo.Demo, "_read_slowly", fail)
    out = io.StringIO()
    assert demo.run(seconds=30, producers=1, consumers=2, out=out) == 1
    assert "A thread failed: ZeroDivisionError: on purpose" in out.getvalue()


def on_a_terminal(command: list[str], columns: int = 100) -> str:
    """Runs the command to its end on a pseudo-terminal of 40 rows, and returns what it wrote there."""
    import pty

    ours, theirs = pty.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "LINES": "40",
        "COLUMNS": str(columns),
        "PYTHONIOENCODING": "utf-8",
    }
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    output, end = b"", time.monotonic() + 60
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while time.monotonic() < end and select.select([terminal], [], [], 30)[0]:
            try:
                read = terminal.read(65536)
            except OSError:  # on Linux this means that the other side has closed
                break
            if not read:
                break
            output += read
    assert process.wait(30) == 0
    return output.decode()


WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from mpmc_queue.__main__ import main; sys.exit(main())"


VIEWS = pytest.mark.parametrize(
    ("command", "goes_back_up"),
    [
        pytest.param(COMMAND, r"\x1b\[1A", id="with rich"),
        pytest.param([sys.executable, "-c", WITHOUT_RICH], r"\x1b\[\d+F", id="without"),
    ],
)


def screen(output: str) -> str:
    """The content of the screen at the end."""
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", output).replace("\r", "")
    return text[max(text.rfind("╭"), text.rfind("mpmc_queue demo  ") if "╭" not in text else 0) :]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@VIEWS
def test_on_a_terminal_it_redraws_in_place_and_leaves_the_cursor_on(command, goes_back_up):
    text = on_a_terminal([*command, "demo", "--seconds", "1"])
    assert text.count("mpmc_queue demo") >= 5
    assert re.search(goes_back_up, text), "to redraw"
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "All counts are correct" in text


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@VIEWS
def test_the_last_screen_agrees_with_the_summary(command, goes_back_up):
    last = screen(on_a_terminal([*command, "demo", "--seconds", "1"]))
    view, _, rest = last.partition("Finished after")
    assert "Ctrl-C" not in view
    assert "finished" in view.lower()
    for name, (_, read, missed, unread) in counts(rest).items():
        (line,) = [line for line in view.splitlines() if f" {name} " in line]
        assert [int(word.replace(",", "")) for word in re.findall(r" ([\d,]+)(?= )", line)[1:4]] == [
            read,
            unread,
            missed,
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@VIEWS
@pytest.mark.parametrize(
    ("columns", "headings"), [(44, {"missed", "lag"}), (66, {"read/s", "unread", "missed", "lag"})]
)
def test_a_narrow_terminal_keeps_the_columns_that_matter(command, goes_back_up, columns, headings):
    last = screen(on_a_terminal([*command, "demo", "--seconds", "0.5"], columns))
    view, _, rest = last.partition("Finished after")
    (heading,) = [line for line in view.splitlines() if "consumer " in line and "missed" in line]
    assert set(heading.split()) - {"│", "consumer"} == headings
    assert max(map(len, view.splitlines())) <= max(
        columns, len("  2 producers, 1 queue, 3 consumers, time to live 1 s")
    )
    assert max(len(line) for line in rest.splitlines()[1:-1] if "counts" not in line) <= columns
    assert re.search(r"^  slow +[\d,]+   correct$", rest, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_live_view_shows_every_consumer_and_what_the_slow_one_misses():
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", on_a_terminal([*COMMAND, "demo", "--seconds", "1.5"]))
    last = text[text.rindex("╭") : text.rindex("╰")]
    figures = {name: line.split() for line in last.splitlines() for name in ("fast", "steady", "slow") if name in line}
    assert list(figures) == ["fast", "steady", "slow"]
    missed = {name: int(words[5].replace(",", "")) for name, words in figures.items()}
    assert missed["fast"] == 0 < missed["slow"]


def test_demo_ends_cleanly_when_its_output_is_closed():
    process = subprocess.Popen([*COMMAND, "demo", "--seconds", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


def test_the_installed_command_is_the_module():
    result = subprocess.run([Path(sys.executable).with_name("mpmc-queue"), "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"mpmc_queue {__version__}\n")


def test_version():
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"mpmc_queue {__version__}\n")


def test_without_a_command_help_is_shown():
    result = run()
    assert result.returncode == 0
    assert result.stdout == run("--help").stdout
    for words in ("commands:", "demo ", "bench ", "--version", "examples:"):
        assert words in result.stdout


@pytest.mark.parametrize("command", [(), ("demo",), ("bench",)], ids=" ".join)
def test_help_fits_a_narrow_terminal(command):
    assert max(map(len, run(*command, "--help").stdout.splitlines())) <= 80


def test_the_examples_of_the_help_are_commands_that_parse():
    commands = re.findall(r"^  python -m mpmc_queue (.*?)(?:  +.*)?$", run("--help").stdout, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert _parser().parse_args(command.removesuffix(" --help").split()).command in ("demo", "bench")


@pytest.mark.parametrize(
    "arguments",
    [("--seconds", "0"), ("--seconds", "nan"), ("--seconds", "soon"), ("--producers", "0"), ("--consumers", "1.5"),
     ("--port", "0"), ("--port", "65536")],
)  # fmt: skip
def test_a_bad_number_is_named(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", *arguments])
    assert caught.value.code == 2
    assert f"argument {arguments[0]}: {arguments[1]!r} is not" in capsys.readouterr().err
