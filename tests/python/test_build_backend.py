"""A build with a missing tool says in one sentence what to install. A finished build is complete."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
LOCK = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))
LICENSES = (ROOT / "LICENSES-THIRD-PARTY.txt").read_text(encoding="utf-8")
HOOKS = [
    "get_requires_for_build_wheel()",
    "get_requires_for_build_editable()",
    "prepare_metadata_for_build_wheel('.')",
    "build_wheel('.')",
    "build_editable('.')",
]


def run(hook, path, before=""):
    """What the hook writes to stderr as it fails, with only `path` to find programs in."""
    source = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'backend')!r}); {before}\nimport mpmc_queue_build as b; b.{hook}"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", source],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": str(path)},
        cwd=path,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (1, "")
    return result.stderr


@pytest.mark.parametrize("hook", [*HOOKS, "get_requires_for_build_sdist()", "build_sdist('.')"])
def test_without_rust_one_sentence_says_what_to_install(hook, tmp_path):
    oldest = MANIFEST["package"]["rust-version"]
    assert run(hook, tmp_path) == (
        f"mpmc-queue has no wheel for this machine, and building it needs Rust {oldest} or newer: "
        "install it from https://rustup.rs and try again.\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the compiler is a shell script")
def test_an_old_rust_is_named_with_the_one_that_is_needed(tmp_path):
    for program, says in (("cargo", "cargo 1.70.0"), ("rustc", "rustc 1.70.0 (90c541806 2023-05-31)")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / program).chmod(0o755)
    assert run(HOOKS[0], tmp_path) == (
        f"mpmc-queue needs Rust {MANIFEST['package']['rust-version']} or newer, and this is 1.70: "
        "run `rustup update stable` and try again.\n"
    )


@pytest.mark.parametrize("hook", HOOKS)
def test_pypy_is_refused_in_one_sentence(hook, tmp_path):
    assert run(hook, tmp_path, "sys.implementation.name = 'pypy'") == (
        "mpmc-queue is an extension for CPython, and this is pypy: use CPython 3.11 or newer.\n"
    )


def test_the_project_is_built_by_this_backend():
    system = PROJECT["build-system"]
    backend = runpy.run_path(str(ROOT / system["backend-path"][0] / f"{system['build-backend']}.py"))
    assert {re.sub(r"\(.*", "", hook) for hook in HOOKS} <= set(backend)


def test_the_wheel_has_the_licences_of_every_crate_in_it():
    """`python tests/packaging/licenses.py` writes the licences, and `make audit` compares the texts."""
    assert "LICENSES-THIRD-PARTY.txt" in PROJECT["project"]["license-files"]
    listed = dict(re.findall(r"^=+\n([\w-]+) ([\d.]+): \S", LICENSES, re.MULTILINE))
    assert set(MANIFEST["dependencies"]) <= set(listed)
    locked = {(package["name"], package["version"]) for package in LOCK["package"]}
    assert set(listed.items()) <= locked


def test_the_changelog_has_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert MANIFEST["package"]["version"] in re.findall(r"^## (\d+\.\d+\.\d+)\b", changelog, re.MULTILINE)


def test_the_crate_has_its_own_name_and_the_library_that_of_the_package():
    assert MANIFEST["package"]["name"] != PROJECT["project"]["name"]
    assert MANIFEST["lib"]["name"] == "mpmc_queue"
    assert [package["name"] for package in LOCK["package"] if "source" not in package] == [MANIFEST["package"]["name"]]
