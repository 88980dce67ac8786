"""The snippets of the README and the documentation under plain mypy and pyright, as a user's program would be.

python tests/snippets.py
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "target" / "snippets"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write() -> int:
    """Each snippet as a file of its own, with its lines where they are in its page; how many."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    count = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        name = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
        for found in BLOCK.finditer(text):
            before = text.count("\n", 0, found.start(1))
            (FOLDER / f"{name}_{before + 1}.py").write_text("\n" * before + found[1], encoding="utf-8")
            count += 1
    return count


def main() -> None:
    count = write()
    settings = {
        "include": ["."],
        "extraPaths": [str(ROOT / "python")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
    }
    (FOLDER / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    (FOLDER / "mypy.ini").write_text(
        f"[mypy]\npython_version = 3.11\nmypy_path = {ROOT / 'python'}\n", encoding="utf-8"
    )
    commands = (
        ["mypy", "--config-file", "mypy.ini", "."],
        ["pyright", "--project", ".", "--pythonpath", sys.executable],
    )
    print(f"{count} snippets of {len(PAGES)} pages are in {FOLDER}, each with its lines where they are in its page")
    # Both of them, whatever the first finds.
    codes = [
        subprocess.run([sys.executable, "-m", *command], cwd=FOLDER, check=False).returncode for command in commands
    ]
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
