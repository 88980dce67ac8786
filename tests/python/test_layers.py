"""The floors of the Python package: a module imports only modules on lower floors or on its own, and there are no cycles.

`tests/layers.rs` checks the same for the engine.
"""

import ast
from pathlib import Path

import mpmc_queue

PACKAGE = Path(mpmc_queue.__file__).parent
FLOORS = [
    ["_defaults", "_errors", "_types"],
    ["_mpmc_queue"],
    ["mpmc_queue"],
    ["_asking", "_figures", "_locked", "_trio", "_watching", "logging", "protocols"],
    ["jetstream", "metrics", "dashboard"],
    ["cli"],
    ["__main__"],
]
"""The lowest first: modules and packages. `mpmc_queue` is `__init__.py`: the public names of the extension."""


def name_of(path):
    """The module's name without that of the package: "" is `__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in [*PACKAGE.rglob("*.py"), PACKAGE / "_mpmc_queue.pyi"]}


def resolve(target, name):
    """The module that `from target import name` needs."""
    inner = f"{target}.{name}".removeprefix("mpmc_queue.")
    outer = target.removeprefix("mpmc_queue").removeprefix(".")
    return inner if inner in MODULES else outer


def imports_of(module, path):
    """The module's imports from the package, including those for types only, and where they are: (line, module)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            if (node.module or "").split(".")[0] == "mpmc_queue":
                yield from ((node.lineno, resolve(node.module, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "mpmc_queue":
                    yield node.lineno, alias.name.removeprefix("mpmc_queue").removeprefix(".")


IMPORTS = {
    module: {target: f"{path}:{line}" for line, target in imports_of(module, path) if target != module}
    for module, path in MODULES.items()
}


def floor(module):
    room = module.split(".")[0] or "mpmc_queue"
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def reaches(start, end):
    seen, following = set(), [start]
    while following:
        for target in IMPORTS[following.pop()]:
            if target == end:
                return True
            if target not in seen:
                seen.add(target)
                following.append(target)
    return False


def test_imports_go_down():
    up = [
        f"{at}: {module} goes up to {target}"
        for module, targets in IMPORTS.items()
        for target, at in targets.items()
        if floor(target) > floor(module)
    ]
    assert not up, "\n".join(up)


def test_there_are_no_import_cycles():
    around = [
        f"{at}: {module or 'mpmc_queue'} imports {target or 'mpmc_queue'}"
        for module, targets in IMPORTS.items()
        for target, at in targets.items()
        if reaches(target, module)
    ]
    assert not around, "\n".join(around)
