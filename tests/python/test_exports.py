"""The names that the package exports are those of the binary and of the stub, and importing them is fast."""

import ast
import doctest
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mpmc_queue
from mpmc_queue import _errors, _mpmc_queue

PACKAGE = Path(mpmc_queue.__file__).parent
STUB = PACKAGE / "_mpmc_queue.pyi"
TYPING_ALL = Path(__file__).with_name("typing_all.py")
NOT_FROM_THE_BINARY = {"Start", "__version__", *(name for name in vars(_errors) if name.endswith("Error"))}
PUBLIC_CLASSES = [name for name in mpmc_queue.__all__ if inspect.isclass(getattr(mpmc_queue, name))]
SPECIAL_METHODS = {
    "__new__": "Queue(",
    "__class_getitem__": "[str]",
    "__len__": "len(",
    "__bool__": "bool(",
    "__iter__": "(iter(",
    "__next__": "(next(",
    "__aiter__": "(aiter(",
    "__anext__": "await anext(",
    "__enter__": "with ",
    "__exit__": "with ",
    "__aenter__": "async with ",
    "__aexit__": "async with ",
}


def stub_classes() -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)}


def members(definition: ast.ClassDef) -> list[str]:
    """What users see of a class. Names that begin with one underscore are internal."""
    names = [node.name for node in definition.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in names if name[0] != "_" or name[:2] == "__"]


def stub_examples() -> list[doctest.DocTest]:
    """The documentation of every name in the stub, and of the package, that has an example."""
    nodes: list[tuple[str, ast.AST]] = [("mpmc_queue", ast.parse((PACKAGE / "__init__.py").read_text()))]
    for definition in stub_classes().values():
        nodes.append((definition.name, definition))
        nodes += [(f"{definition.name}.{node.name}", node) for node in definition.body if hasattr(node, "name")]
    parser = doctest.DocTestParser()
    names = {name: getattr(mpmc_queue, name) for name in mpmc_queue.__all__}
    tests = []
    for name, node in nodes:
        text = ast.get_docstring(node) or ""
        if ">>>" in text:
            tests.append(parser.get_doctest(text, dict(names), name, str(STUB), 0))
    return tests


def test_all_lists_everything_public():
    public = {name for name, value in vars(mpmc_queue).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert public - {"TYPE_CHECKING"} <= set(mpmc_queue.__all__)


def test_all_names_exist():
    for name in mpmc_queue.__all__:
        assert getattr(mpmc_queue, name) is not None


def test_all_is_sorted_and_has_no_name_twice():
    assert len(mpmc_queue.__all__) == len(set(mpmc_queue.__all__))


def test_all_agrees_with_the_binary():
    binary = {name for name in vars(_mpmc_queue) if name[0] != "_"}
    assert set(mpmc_queue.__all__) - NOT_FROM_THE_BINARY == binary


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        mpmc_queue.Nothing  # noqa: B018


def test_stub_classes_are_those_of_the_binary():
    classes = {name for name, value in vars(_mpmc_queue).items() if inspect.isclass(value)}
    assert set(stub_classes()) == classes


@pytest.mark.parametrize("name", stub_classes())
def test_stub_members_are_those_of_the_binary(name):
    """stubtest also compares the signatures. This test needs no type checker."""
    binary = {member for member in vars(getattr(_mpmc_queue, name)) if member[0] != "_"}
    assert {member for member in members(stub_classes()[name]) if member[0] != "_"} == binary


@pytest.mark.parametrize("name", stub_classes())
def test_everything_in_the_stub_is_documented(name):
    definition = stub_classes()[name]
    undocumented = {
        node.name
        for node in definition.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not (node.name.startswith("__") or is_setter(node))
        and not ast.get_docstring(node)
    }
    assert ast.get_docstring(definition)
    assert not undocumented


def is_setter(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(decorator, ast.Attribute) for decorator in node.decorator_list)


@pytest.mark.parametrize("name", mpmc_queue.__all__)
def test_the_typing_file_uses_every_exported_name(name):
    uses = {node.id for node in ast.walk(ast.parse(TYPING_ALL.read_text())) if isinstance(node, ast.Name)}
    assert name in uses


@pytest.mark.parametrize("name", stub_classes())
def test_the_typing_file_uses_every_member(name):
    source = TYPING_ALL.read_text()
    missing = {
        member
        for member in members(stub_classes()[name])
        if (SPECIAL_METHODS[member] if member[:2] == "__" else f".{member}") not in source
    }
    assert not missing


@pytest.mark.thread_unsafe(reason="doctest redirects the standard output")
@pytest.mark.parametrize("example", stub_examples(), ids=lambda example: example.name)
def test_example_runs(example):
    output: list[str] = []
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    results = doctest.DocTestRunner(verbose=False, optionflags=options).run(example, out=output.append)
    assert results.attempted
    assert not results.failed, "".join(output)


@pytest.mark.parametrize("name", ["Queue", "Consumer", "ConsumerGroup", "Message"])
def test_generic_classes_can_be_subscripted_at_run_time(name):
    assert getattr(mpmc_queue, name)[str]


@pytest.mark.parametrize("name", PUBLIC_CLASSES)
def test_classes_name_the_public_module(name):
    assert getattr(mpmc_queue, name).__module__ == "mpmc_queue"


def test_version_is_the_installed_one():
    assert mpmc_queue.__version__ == importlib.metadata.version("mpmc-queue")


def loaded_modules(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())


@pytest.mark.thread_unsafe(reason="starts processes")
def test_import_loads_nothing_heavy():
    # Modules that the interpreter has loaded without us (some editable installs load a few) do not count.
    loaded = loaded_modules("import mpmc_queue") - loaded_modules("pass")
    heavy = {"argparse", "asyncio", "dataclasses", "inspect", "logging", "typing", "uuid", "mpmc_queue.cli.demo"}
    assert not loaded & heavy


@pytest.mark.thread_unsafe(reason="starts processes")
def test_import_loads_the_standard_library_and_nothing_else():
    """No optional dependency is loaded, although all of them are installed here."""
    loaded = loaded_modules("import mpmc_queue") - loaded_modules("pass")
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"mpmc_queue"}


@pytest.mark.thread_unsafe(reason="starts processes, and measures")
def test_import_takes_less_than_20_ms():
    code = "import time; start = time.perf_counter(); import mpmc_queue; print(time.perf_counter() - start)"
    command = [sys.executable, "-I", "-c", code]
    times = (float(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout) for _ in range(20))
    # Other programs can only make it slower, never faster: one round in time is enough.
    assert any(seconds < 0.020 for seconds in times)
