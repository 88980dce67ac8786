"""The migration guide in the documentation: the program of each step runs and prints the same."""

import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "jetstream.md").read_text(encoding="utf-8")
PROGRAM, THREADS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DIFFS = re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def patched(text: str, diff: str) -> str:
    """Applies each hunk of the diff at the place of its context and old lines."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"this stands {text.count(old)} times in the program:\n{old}"
        text = text.replace(old, new)
    return text


def output(program: str, tmp_path: Path) -> str:
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", file], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_the_program_runs_before_and_after(nats, tmp_path):
    first, second, *_ = DIFFS
    assert output(PROGRAM, tmp_path) == "tea\n0\n"
    with_protocols = patched(PROGRAM, first)
    assert output(with_protocols, tmp_path) == "tea\n0\n"
    after = patched(with_protocols, second).replace("nats://localhost:4222", nats.url)
    assert output(after.replace('"orders", ttl', f'"orders-{uuid4().hex}", ttl'), tmp_path) == "tea\n0\n"


def test_the_threaded_program_runs_before_and_after(nats, tmp_path):
    _, _, diff, _ = DIFFS
    assert output(THREADS, tmp_path) == "tea\n0\n"
    after = patched(THREADS, diff).replace("nats://localhost:4222", nats.url)
    assert output(after.replace('"orders", ttl', f'"orders-{uuid4().hex}", ttl'), tmp_path) == "tea\n0\n"


def test_the_program_runs_with_its_own_server(directory, tmp_path):
    first, second, _, own = DIFFS
    program = patched(patched(patched(PROGRAM, first), second), own)
    assert output(program, tmp_path) == "tea\n0\n"
    assert (tmp_path / "data" / "store").is_dir()


def test_the_program_passes_mypy_at_each_step(tmp_path):
    pytest.importorskip("mypy")
    first, second, threads, own = DIFFS
    with_protocols = patched(PROGRAM, first)
    after = patched(with_protocols, second)
    programs = (PROGRAM, with_protocols, after, patched(after, own), THREADS, patched(THREADS, threads))
    for number, program in enumerate(programs):
        file = tmp_path / f"step{number}.py"
        file.write_text(program, encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", file],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout
