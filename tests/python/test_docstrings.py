"""The binary's docstrings come from the stub: `help()` says what the documentation says."""

import ast
import inspect
import pydoc
import types
from pathlib import Path

import pytest

import mpmc_queue
from mpmc_queue import _mpmc_queue

STUB = ast.parse(Path(mpmc_queue.__file__).with_name("_mpmc_queue.pyi").read_text(encoding="utf-8"))
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def stub_docstrings():
    """What the stub documents, as (qualified name, docstring)."""
    for name, node in CLASSES.items():
        yield name, ast.get_docstring(node)
        for member in node.body:
            if (
                isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
                and (text := ast.get_docstring(member)) is not None
            ):
                yield f"{name}.{member.name}", text


def find(qualified):
    found = _mpmc_queue
    for name in qualified.split("."):
        found = vars(found)[name]
    return found


def is_slot(member):
    """Whether Python writes the docstring. That of `__len__` and similar methods is the same for every class."""
    return isinstance(member, types.WrapperDescriptorType)


@pytest.mark.parametrize(("qualified", "text"), [pytest.param(*pair, id=pair[0]) for pair in stub_docstrings()])
def test_docstrings_are_those_of_the_stub(qualified, text):
    member = find(qualified)
    if not is_slot(member):
        assert inspect.cleandoc(member.__doc__ or "") == text


@pytest.mark.parametrize("name", CLASSES)
def test_the_stub_documents_what_the_binary_documents(name):
    documented = {qualified.removeprefix(f"{name}.") for qualified, _ in stub_docstrings()}
    public = {member for member in vars(find(name)) if not member.startswith("_")}
    assert public <= documented


@pytest.mark.parametrize("name", ["enqueue", "enqueue_batch", "aenqueue", "aenqueue_batch"])
def test_the_default_ttl_is_shown_as_the_queues_and_means_that(name):
    assert "ttl=queue.ttl," in str(inspect.signature(getattr(mpmc_queue.Queue, name)))
    queue = mpmc_queue.Queue("q", ttl=None)
    bound = inspect.signature(queue.enqueue).bind("a")
    bound.apply_defaults()
    assert queue.enqueue(*bound.args, **bound.kwargs) == 0
    assert len(queue) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_help_shows_no_placeholder(name):
    text = pydoc.render_doc(getattr(mpmc_queue, name))
    assert "Ellipsis" not in text
    assert "doc!" not in text
