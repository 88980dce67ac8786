"""The README's snippets run as typed and print what they say they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mpmc_queue

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, len(SNIPPETS) + 1))
def test_snippet_prints_what_it_says(snippet, tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(snippet, encoding="utf-8")
    result = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    expected = re.findall(r"print\(.*\)  # (.*)$", snippet, re.MULTILINE)
    assert expected
    assert result.stdout.splitlines() == expected


def test_there_are_snippets():
    assert len(SNIPPETS) == README.count("```python") > 0


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_the_settings_it_recommends_are_taken(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (`Queue\(.*`) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        make, *calls = re.findall(r"`(.*?)`", row)
        queue = eval(make, {"Queue": mpmc_queue.Queue})
        for call in calls:
            target = queue.add_consumer() if call.startswith("read") else queue
            eval(f"target.{call}", {"target": target})


def test_make_demo_and_make_test_are_the_first_commands():
    assert re.findall(r"^\$ (.*)$", README, re.MULTILINE)[:2] == ["make demo", "make test"]


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\bmake ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert re.search(rf"^(\S+ )*{target}( \S+)*:", makefile, re.MULTILINE), f"{name} names `make {target}`"
