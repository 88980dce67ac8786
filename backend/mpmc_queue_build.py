"""What pip calls to build the package: maturin, once the machine has what that needs. Otherwise one sentence says what to do."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

Settings = Mapping[str, Any] | None

os.environ["MATURIN_NO_MISSING_BUILD_BACKEND_WARNING"] = "1"  # it would not be used, it says, but here it is


def check_python() -> None:
    if sys.implementation.name != "cpython":
        sys.exit(
            f"mpmc-queue is an extension for CPython, and this is {sys.implementation.name}: use CPython 3.11 or newer."
        )


def check_rust() -> None:
    manifest = Path(__file__).parents[1].joinpath("Cargo.toml").read_text(encoding="utf-8")
    [oldest] = re.findall(r'^rust-version = "(\d+\.\d+)"', manifest, re.MULTILINE)
    if not shutil.which("cargo") or not (rustc := shutil.which("rustc")):
        sys.exit(
            f"mpmc-queue has no wheel for this machine, and building it needs Rust {oldest} or newer: "
            "install it from https://rustup.rs and try again."
        )
    said = subprocess.run([rustc, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"rustc (\d+)\.(\d+)", said)
    if version and tuple(map(int, version.groups())) < tuple(map(int, oldest.split("."))):
        sys.exit(
            f"mpmc-queue needs Rust {oldest} or newer, and this is {version[0].removeprefix('rustc ')}: "
            "run `rustup update stable` and try again."
        )


class Maturin(Protocol):
    """What pip would call if this module were not in between."""

    def prepare_metadata_for_build_wheel(self, directory: str, settings: Settings, /) -> str: ...
    def build_sdist(self, directory: str, settings: Settings, /) -> str: ...
    def build_wheel(self, directory: str, settings: Settings, metadata: str | None, /) -> str: ...
    def build_editable(self, directory: str, settings: Settings, metadata: str | None, /) -> str: ...


def maturin() -> Maturin:
    module: Any = import_module("maturin")
    return cast(Maturin, module)


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    check_rust()
    return []


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    check_python()
    check_rust()
    return []


get_requires_for_build_editable = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    get_requires_for_build_wheel()
    return maturin().prepare_metadata_for_build_wheel(metadata_directory, config_settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    get_requires_for_build_sdist()
    return maturin().build_sdist(sdist_directory, config_settings)


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    get_requires_for_build_wheel()
    return maturin().build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    get_requires_for_build_wheel()
    return maturin().build_editable(wheel_directory, config_settings, metadata_directory)
