"""Writes LICENSES-THIRD-PARTY.txt: the licence texts of the crates that are compiled into the wheels.

python tests/packaging/licenses.py            writes it anew
python tests/packaging/licenses.py --check    fails if it is out of date
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "LICENSES-THIRD-PARTY.txt"
# The platforms that have wheels. Crates differ in what they need on each.
PLATFORMS = (
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
)
HEAD = """\
mpmc-queue is under the MIT license: see LICENSE. Its wheels also contain the crates below, compiled, and parts of the
Rust standard library. Where a crate offers a choice of licences that includes MIT, MIT is chosen.
"""
MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
STD = f"""\
Rust standard library: MIT OR Apache-2.0
https://github.com/rust-lang/rust

Copyright (c) The Rust Project Contributors

{MIT}"""
LINE = "=" * 100


def crates() -> dict[str, dict[str, Any]]:
    """What is compiled into a wheel, by name: not what only helps to build it, such as macros."""
    found: dict[str, dict[str, Any]] = {}
    for platform in PLATFORMS:
        command = (
            "cargo",
            "metadata",
            "--format-version=1",
            "--locked",
            "--features=python",
            "--filter-platform",
            platform,
        )
        about = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
        packages = {package["id"]: package for package in about["packages"]}
        needs = {node["id"]: node["deps"] for node in about["resolve"]["nodes"]}
        left, seen = [about["resolve"]["root"]], set[str]()
        while left:
            crate = left.pop()
            if crate in seen or any("proc-macro" in target["kind"] for target in packages[crate]["targets"]):
                continue
            seen.add(crate)
            left += [need["pkg"] for need in needs[crate] if any(kind["kind"] is None for kind in need["dep_kinds"])]
        found |= {packages[crate]["name"]: packages[crate] for crate in seen if crate != about["resolve"]["root"]}
    return dict(sorted(found.items()))


def texts(package: dict[str, Any]) -> str:
    folder = Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if re.match(r"(?i)(licen[cs]e|copying|notice)", file.name))
    if "MIT" in re.split(r" OR |/", package["license"].strip("()")):
        other = re.compile(r"APACHE|BSD|UNLICENSE|ZLIB", re.IGNORECASE)  # not the file for third parties, nor a notice
        files = [file for file in files if not other.search(file.name)] or files
    if not files:
        # A crate of a workspace may leave its licence to the others. Its authors are all that there is to say.
        assert "MIT" in package["license"], f"{package['name']}: no licence text, and {package['license']} is not MIT"
        authors = ", ".join(re.sub(r" *<.*?>", "", author) for author in package["authors"])
        return f"Copyright (c) {authors or 'the authors of ' + package['name']}\n\n{MIT}"
    return "\n\n".join(file.read_text(encoding="utf-8").replace("\r\n", "\n").strip() for file in files) + "\n"


def document() -> str:
    parts = [HEAD, STD]
    for name, package in crates().items():
        where = package["repository"] or f"https://crates.io/crates/{name}"
        parts.append(f"{name} {package['version']}: {package['license']}\n{where}\n\n{texts(package)}")
    return f"\n{LINE}\n".join(parts)


def main() -> None:
    text = document()
    if sys.argv[1:] != ["--check"]:
        FILE.write_text(text, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"{FILE.name} is out of date: run python tests/packaging/licenses.py")


if __name__ == "__main__":
    main()
