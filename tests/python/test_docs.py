"""The documentation: its snippets run and print what they say, and the tests and names that it mentions exist."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mpmc_queue
from mpmc_queue import Consumer, ConsumerGroup, ConsumerStats, Event, GroupStats, Message, Queue, QueueStats

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ROOT = Path(__file__).parents[2]
PAGES = {str(page.relative_to(ROOT / "docs")): page.read_text(encoding="utf-8") for page in ROOT.glob("docs/**/*.md")}
SNIPPETS = [
    pytest.param(snippet, id=f"{page} {number}")
    for page, text in sorted(PAGES.items())
    for number, snippet in enumerate(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL), 1)
]
GUARANTEES = re.findall(r"^\| (.*) \| `([^`]*)` \|$", PAGES["guarantees.md"], re.MULTILINE)
# The variable names that the tables of names use for an object of each class.
OBJECTS = {
    "queue": Queue,
    "consumer": Consumer,
    "member": Consumer,
    "group": ConsumerGroup,
    "message": Message,
    "event": Event,
}


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_prints_what_it_says(snippet, tmp_path):
    file = tmp_path / "snippet.py"
    file.write_text(snippet, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", file], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == re.findall(r"print\(.*\)  # (.*)$", snippet, re.MULTILINE)


def test_every_python_block_is_a_snippet_that_is_run():
    blocks = sum(len(re.findall(r"^\s*(?:```|~~~) *(?:python|py|pycon)\b", text, re.M)) for text in PAGES.values())
    assert blocks == len(SNIPPETS) > 15


@pytest.mark.parametrize(("guarantee", "test"), GUARANTEES, ids=[test for _, test in GUARANTEES])
def test_each_test_named_by_a_guarantee_exists(guarantee, test):
    file, function = test.split("::")
    if file.endswith(".rs"):
        source, define = (ROOT / "tests" / file).read_text(encoding="utf-8"), rf"#\[test\]\n\s*fn {function}\("
    else:
        source, define = Path(__file__).with_name(file).read_text(encoding="utf-8"), rf"^(?:async )?def {function}\("
    assert re.search(define, source, re.MULTILINE), f"{test} is to hold us to: {guarantee}"


def test_every_guarantee_names_a_test():
    rows = [row for row in PAGES["guarantees.md"].splitlines() if row.startswith("| ") and not row.endswith("| Test |")]
    assert len(rows) == len(GUARANTEES) > 50


@pytest.mark.parametrize("page", ["coming-from/go.md", "coming-from/python.md"])
def test_names_in_the_tables_exist(page):
    cells = [cell for row in re.findall(r"^\|.*\|$", PAGES[page], re.MULTILINE) for cell in row.split("|")[2:]]
    code = re.findall(r"`([^`]*)`", " ".join(cells))
    methods = [found for text in code for found in re.findall(r"\b(\w+)\.(\w+)", text) if found[0] in OBJECTS]
    assert len(methods) > 20
    missing = {f"{name}.{member}" for name, member in methods if not hasattr(OBJECTS[name], member)}
    # These belong to the standard library's module, not to a queue.
    assert missing <= {"queue.Full", "queue.Empty", "queue.ShutDown"}
    errors = {text for text in code if re.fullmatch(r"[A-Z]\w*Error|[A-Z_]{5,}", text)}
    assert {name for name in errors if not hasattr(mpmc_queue, name)} <= {"ValueError"}


def test_every_field_of_the_go_statistics_has_an_equivalent():
    for cls, fields in (
        (QueueStats, "name total_items memory_usage memory_percent consumer_count created_at ttl"),
        (ConsumerStats, "id total_items_read unread_items last_read_time"),
    ):
        assert all(hasattr(cls, field) for field in fields.split())


REFERENCE = {page: text for page, text in PAGES.items() if page.startswith("reference/")}


def test_the_reference_has_every_public_name():
    documented = re.findall(r"^::: mpmc_queue\.(\w+)$", "\n".join(REFERENCE.values()), re.MULTILINE)
    assert sorted(documented) == sorted(set(mpmc_queue.__all__) - {"__version__"})


@pytest.mark.parametrize("module", ["dashboard", "jetstream", "logging", "protocols"])
def test_the_reference_has_every_public_name_of(module):
    package = ROOT / "python" / "mpmc_queue"
    file = next(file for file in (package / module / "__init__.py", package / f"{module}.py") if file.is_file())
    [names] = re.findall(r"^__all__ = (\[[^\]]*\])$", file.read_text(encoding="utf-8"), re.MULTILINE)
    documented = re.findall(rf"^::: mpmc_queue\.{module}\.(\w+)$", "\n".join(REFERENCE.values()), re.MULTILINE)
    assert sorted(documented) == sorted(ast.literal_eval(names))


def test_each_class_has_its_own_page():
    for cls in (Queue, Consumer, ConsumerGroup, Message, Event, QueueStats, ConsumerStats, GroupStats):
        assert f"::: mpmc_queue.{cls.__name__}\n" in REFERENCE.values()


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    assert set(re.findall(r"[\w/-]+\.md$", menu, re.MULTILINE)) == set(PAGES)


def test_the_speed_chart_shows_the_figures_of_the_table():
    """`python docs/speed_picture.py` redraws it."""
    drawn = runpy.run_path(str(ROOT / "docs" / "speed_picture.py"))
    assert drawn["PICTURE"].read_text(encoding="utf-8") == drawn["picture"]()
    figures = drawn["table"]()["`enqueue`"]
    assert f">{figures[0][1]} mpmc-queue<" in drawn["picture"]()


PUBLISH = runpy.run_path(str(ROOT / "docs" / "publish.py"))


@pytest.mark.parametrize(
    ("ref", "published", "version", "is_latest"),
    [
        ("main", [], "dev", True),
        ("main", ["dev"], "dev", True),
        ("main", ["dev", "0.1"], "dev", False),
        ("v0.1.0", ["dev"], "0.1", True),
        ("v0.1.7", ["dev", "0.1"], "0.1", True),
        ("v0.10.0", ["dev", "0.9", "0.2"], "0.10", True),
        ("v0.9.1", ["dev", "0.10", "0.9"], "0.9", False),
    ],
)
def test_the_newest_release_is_what_readers_get_by_default(ref, published, version, is_latest):
    assert PUBLISH["name_of"](ref) == version
    assert PUBLISH["is_latest"](version, published) is is_latest


@pytest.mark.parametrize("ref", ["", "topic", "v1", "v1.2", "v1.2.3rc1", "1.2.3", "v1.2.3/x"])
def test_only_main_and_releases_are_published(ref):
    with pytest.raises(SystemExit, match="nothing is published"):
        PUBLISH["name_of"](ref)


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda picture: picture.stem)
def test_every_colour_of_a_diagram_has_one_for_dark_pages(picture):
    text = picture.read_text(encoding="utf-8")
    style = re.search(r"<style>@media \(prefers-color-scheme: dark\)\{(.*)\}</style>", text)
    assert style is not None
    used = set(re.findall(r' (fill|stroke)="(#\w+)"', text))
    assert len(used) > 2
    assert used == set(re.findall(r'\[(fill|stroke)="(#\w+)"\]', style[1]))


@pytest.mark.parametrize("word", ["backpressure", "topic", "multiprocessing", "persistence"])
def test_a_search_for_what_users_ask_finds_a_heading(word):
    """Search ranks pages first that have the word in a heading. It finds words that begin with the given one."""
    headings = re.findall(r"^## (.*)$", PAGES["troubleshooting.md"], re.MULTILINE)
    assert [heading for heading in headings if re.search(rf"\b{word}", heading, re.IGNORECASE)]
