"""The source distribution is all one needs: unpacked where nothing else is, it makes a wheel that works.

python tests/packaging/from_sdist.py dist/mpmc_queue-0.1.0.tar.gz
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

# What anyone who has it needs besides the code, and what they would have to do without.
NEEDED = {
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "LICENSES-THIRD-PARTY.txt",
    "backend/mpmc_queue_build.py",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "src/lib.rs",
    "Makefile",
}
UNWANTED = {".so", ".pyd", ".pyc"}
CHECK = """
from importlib.metadata import entry_points, files, metadata, version
import mpmc_queue

assert mpmc_queue.__version__ == version("mpmc-queue")
assert mpmc_queue.Queue("q").enqueue("works") == 0
names = {str(file) for file in files("mpmc-queue")}
assert {"mpmc_queue/py.typed", "mpmc_queue/_mpmc_queue.pyi"} <= names, names
assert any(name.endswith("licenses/LICENSES-THIRD-PARTY.txt") for name in names), names
about = metadata("mpmc-queue")
assert about["License-Expression"] == "MIT" and about["Summary"] and about.get_payload(), about
assert about.get_all("Project-URL") and len(about.get_all("Classifier")) > 10, about
assert all("extra ==" in requirement for requirement in about.get_all("Requires-Dist")), "nothing else at run time"
"""


def main() -> None:
    (sdist,) = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        with tarfile.open(sdist) as archive:
            archive.extractall(here, filter="data")
        (source,) = here.iterdir()
        present = {str(path.relative_to(source)) for path in source.rglob("*")}
        assert present >= NEEDED, f"not there: {NEEDED - present}"
        binaries = {path for path in present if Path(path).suffix in UNWANTED}
        assert not binaries, f"these do not belong there: {binaries}"

        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", here / "dist", source)
        (wheel,) = (here / "dist").glob("*.whl")
        venv.create(here / "venv", with_pip=True)
        python = here / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", wheel)
        # Isolated, and from a folder where nothing can be imported from: what runs is the installed package.
        run(python, "-I", "-c", CHECK, cwd=here / "dist")
        run(python.with_name("mpmc-queue"), "demo", "--seconds", "0.5", cwd=here / "dist")
        print(f"{sdist.name} makes {wheel.name}, {wheel.stat().st_size / 1024:,.0f} KiB, and that works.")


def run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd)


if __name__ == "__main__":
    main()
