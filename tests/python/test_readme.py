"""The README's snippets run as typed and print what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mpmc_queue

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SITE = "https://mpmc-queue.github.io/mpmc-queue/"
REPOSITORY = "https://github.com/mpmc-queue/mpmc-queue"
BLOB, TREE = f"{REPOSITORY}/blob/main/", f"{REPOSITORY}/tree/main/"
RAW = "https://raw.githubusercontent.com/mpmc-queue/mpmc-queue/main/"
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
def test_the_settings_it_recommends_are_accepted(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (`Queue\(.*`) \|$", text, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        make, *calls = re.findall(r"`(.*?)`", row)
        queue = eval(make, {"Queue": mpmc_queue.Queue})
        for call in calls:
            target = queue.add_consumer() if call.startswith("read") else queue
            eval(f"target.{call}", {"target": target})


def test_the_first_commands_install_demonstrate_and_test_it():
    assert re.findall(r"^\$ (.*)$", README, re.MULTILINE)[:4] == [
        "pip install mpmc-queue",
        "python -m mpmc_queue demo",
        "make demo",
        "make test",
    ]


def test_links_work_where_the_readme_is_shown_alone():
    """On PyPI only the README is shown. So each link is absolute, and links into the project lead to existing files."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)]*)\)", prose)
    assert len(links) > 20
    assert [link for link in links if not link.startswith("https://")] == []
    # A page without a version leads nowhere; the site alone leads to the latest.
    docs = [link.removeprefix(SITE) for link in links if link.startswith(SITE)]
    assert [page for page in docs if page and not page.startswith("latest/")] == []
    files = [link.removeprefix(place) for link in links for place in (RAW, BLOB, TREE) if link.startswith(place)]
    pages = [page.removeprefix("latest/").strip("/") or "index" for page in docs]
    assert [page for page in pages if not (ROOT / "docs" / f"{page}.md").is_file()] == []
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert len(pages) >= 5
    assert len(files) >= 5


def test_every_row_of_the_comparison_has_a_cell_for_every_queue():
    section = README.partition("## How it compares")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\|$", section, re.MULTILINE)
    assert len(rows) >= 12
    assert {row.count("|") for row in rows} == {11}
    noted = {int(note) for row in rows for note in re.findall(r"\[(\d)\]", row)}
    notes = re.findall(r"^(\d)\. ", section, re.MULTILINE)
    assert [int(note) for note in notes] == sorted(noted)


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflows = [str(file.relative_to(ROOT)) for file in (ROOT / ".github").rglob("*.[ym]*")]
    assert len(workflows) >= 6
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", *workflows):
        for target in re.findall(r"\bmake ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert re.search(rf"^(\S+ )*{target}( \S+)*:", makefile, re.MULTILINE), f"{name} names `make {target}`"
