"""Puts each fault of mutants.toml into a copy of the engine, and lists the test that finds it, also in docs/mutants.md.

A fault that no test finds fails the run, and so does one that no longer compiles or whose place is not there any more.

    python tests/mutants.py [--only TEXT] [--python PYTHON]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "mutants"
TREE = WORK / "tree"
TABLE = ROOT / "docs" / "mutants.md"
HEAD = """\
---
search: { boost: 0.3 }
---

# Mutation testing

Written by `make mutants`: each of these small faults was put into the engine by itself (`tests/mutants.toml` has them as
text), and a test failed.

| file | fault | the test that found it first |
|---|---|---|
"""
# The rules first: they are quick, and do not depend on chance.
RULES = ["--lib", *(f"--test={rules}" for rules in ("engine", "groups", "hostile", "leases", "routes", "topics"))]
MODELS = ["--test", "model", "--test", "group_model"]
# Seconds after which a run counts as hanging: a test that waits for ever has found a lost wake-up. Building is apart.
PATIENCE = 150
FAILED = re.compile(
    r"^test (\S+) \.\.\. FAILED|^FAILED (\S+)|^---- (\S+) stdout|^thread '(models::\S+)'.* panicked", re.MULTILINE
)


@dataclass
class Mutant:
    """One fault: where it is put, and what finds it."""

    file: str
    what: str
    old: str
    new: str
    python: str | None = None
    loom: str | None = None
    """Which of loom's models have to find it: an ordering that no test on this machine can tell from the right one."""


class BrokenError(Exception):
    """A fault that cannot be tried."""


def run(command: list[str], patience: float | None = None, **environment: str) -> tuple[int | None, str]:
    """Runs a command in the copy: its code (None: it hung), and what it said."""
    process = subprocess.Popen(
        command,
        cwd=TREE,
        env={**os.environ, "CARGO_TARGET_DIR": str(WORK / "build"), "RUST_BACKTRACE": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=patience)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return None, output


def build(command: list[str], **environment: str) -> None:
    code, output = run(command, None, **environment)
    if code != 0:
        raise BrokenError(f"it does not compile:\n{output[-3000:]}")


def find_failure(code: int | None, output: str) -> str | None:
    """The first test that failed, or None."""
    found = FAILED.search(output)
    if found is not None:
        return next(name for name in found.groups() if name)
    if code is None:
        hanging = re.findall(r"^test (\S+) has been running", output, re.MULTILINE)
        return f"{hanging[0] if hanging else 'a test'} (hangs)"
    return None if code == 0 else f"the run failed:\n{output[-2000:]}"


def rust(which: list[str]) -> str | None:
    build(["cargo", "test", "--quiet", "--no-run", *which])
    # Not --quiet: the output has to name the tests.
    return find_failure(*run(["cargo", "test", *which], PATIENCE))


def loom(models: str) -> str | None:
    command = ["cargo", "test", "--profile", "soak", "--lib", "--target-dir", str(WORK / "loom")]
    build([*command, "--quiet", "--no-run"], RUSTFLAGS="--cfg loom")
    return find_failure(*run([*command, "--", models], PATIENCE, RUSTFLAGS="--cfg loom"))


def python(interpreter: str, test: str) -> str | None:
    build(["cargo", "build", "--quiet", "--features", "python"], PYO3_PYTHON=interpreter)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    library = "libmpmc_queue.dylib" if sys.platform == "darwin" else "libmpmc_queue.so"
    shutil.copy(WORK / "build" / "debug" / library, TREE / "python" / "mpmc_queue" / f"_mpmc_queue{suffix}")
    command = [interpreter, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    return find_failure(*run(command, PATIENCE * 5, PYTHONPATH=str(TREE / "python")))


def find_killer(mutant: Mutant | None, interpreter: str, python_test: str | None) -> str | None:
    """What finds the fault that is in the copy."""
    if python_test is not None:
        return python(interpreter, python_test)
    if mutant is not None and mutant.loom is not None:
        return loom(mutant.loom)
    killer = rust(RULES)
    if killer is None:
        killer = rust(MODELS)
        if killer is not None and mutant is not None:
            killer = f"by chance only: {killer}"
    return killer


def try_mutant(mutant: Mutant, interpreter: str) -> str | None:
    path = TREE / mutant.file
    source = path.read_text()
    if source.count(mutant.old) != 1:
        raise BrokenError(f"`old` stands in {mutant.file} {source.count(mutant.old)} times, not once")
    try:
        path.write_text(source.replace(mutant.old, mutant.new))
        return find_killer(mutant, interpreter, mutant.python)
    finally:
        path.write_text(source)


def copy_tree() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    for name in ("src", "tests", "benches", "python"):
        # As of now, for cargo goes by the time: what the last run left behind was built from a fault.
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / name, TREE / name, ignore=ignored, copy_function=shutil.copy)
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, TREE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", help="only the faults in whose file or description this stands, or one of several"
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has pytest")
    arguments = parser.parse_args()
    entries = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["mutant"]
    mutants = [Mutant(**entry) for entry in entries]
    wanted = arguments.only or [""]
    mutants = [mutant for mutant in mutants if any(text in mutant.file or text in mutant.what for text in wanted)]
    copy_tree()
    # Without a fault nothing may fail, or no failure would mean anything.
    for python_test in sorted({mutant.python or "" for mutant in mutants}):
        failure = find_killer(None, arguments.python, python_test or None)
        if failure is not None:
            print(f"Without any fault, {python_test or 'the Rust tests'} failed: {failure}")
            return 1
    survivors = 0
    rows = []
    for number, mutant in enumerate(mutants, 1):
        start = time.monotonic()
        try:
            killer = try_mutant(mutant, arguments.python)
        except BrokenError as error:
            killer, survivors = f"CANNOT BE TRIED: {error}", survivors + 1
        if killer is None or killer.startswith("by chance only"):
            survivors += 1
        took = time.monotonic() - start
        what = f"{mutant.file}: {mutant.what}"
        print(f"{number}/{len(mutants)} {what}\n    {killer or 'SURVIVED'} ({took:.0f} s)", flush=True)
        rows.append(f"| `{mutant.file}` | {mutant.what} | `{killer}` |\n")
    print(f"{len(mutants) - survivors} of {len(mutants)} faults were found.")
    if not survivors and len(mutants) == len(entries):
        TABLE.write_text(HEAD + "".join(rows), encoding="utf-8")
        print(f"Written: {TABLE.relative_to(ROOT)}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
