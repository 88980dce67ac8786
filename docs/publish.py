"""Puts the documentation, as it is here, onto the local branch gh-pages: `python docs/publish.py main` or `... v1.2.3`.

The branch `main` becomes the version `dev`. The release v1.2.3 becomes the version `1.2`. The newest release also has the
alias `latest`, which is what readers get unless they choose. Until there is a release, `dev` has that alias.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

BRANCH: Final = "gh-pages"
DEV: Final = "dev"
LATEST: Final = "latest"
# For every address that does not exist. Those from before there were versions lead to the same page of the latest one.
NOT_FOUND: Final = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mpmc-queue: page not found</title>
<body style="font-family: system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>Page not found</h1>
<p>This version of the documentation has no such page. <a href="ROOT">Start with the latest version</a>.</p>
<script type="module">
  const path = location.pathname.slice("ROOT".length);
  const versions = await (await fetch("ROOTversions.json")).json();
  const known = versions.flatMap(({ version, aliases }) => [version, ...aliases]);
  if (!known.includes(path.split("/")[0])) location.replace("ROOTlatest/" + path + location.search + location.hash);
</script>
"""


def run(*command: str) -> str:
    # mike starts mkdocs, and looks for it on PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def series(version: str) -> tuple[int, ...] | None:
    """The numbers of a version such as `1.2`; None for others, such as `dev`."""
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+\.\d+", version) else None


def name_of(ref: str) -> str:
    """The version that a branch or a tag is published as."""
    if ref == "main":
        return DEV
    release = re.fullmatch(r"v(\d+\.\d+)\.\d+", ref)
    if release is None:
        sys.exit(f"{ref} is neither main nor the tag of a release, such as v1.2.3: nothing is published.")
    return release[1]


def is_latest(version: str, published: list[str]) -> bool:
    """Whether a version is what readers get by default, with these published already."""
    releases = [numbers for numbers in map(series, published) if numbers is not None]
    numbers = series(version)
    return not releases if numbers is None else numbers >= max(releases, default=numbers)


def site_root() -> str:
    """The path of the site: `/mpmc-queue/`."""
    found = re.search(r"^site_url: https://[^/]+(/\S*)$", Path("mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


def add_not_found_page() -> None:
    with tempfile.TemporaryDirectory() as place:
        run("git", "worktree", "add", "--quiet", "--force", place, BRANCH)
        try:
            page = Path(place, "404.html")
            page.write_text(NOT_FOUND.replace("ROOT", site_root()), encoding="utf-8")
            run("git", "-C", place, "add", page.name)
            if run("git", "-C", place, "status", "--porcelain"):
                run("git", "-C", place, "commit", "--quiet", "--no-verify", "-m", "A page for unknown addresses")
        finally:
            run("git", "worktree", "remove", "--force", place)


def main(ref: str) -> None:
    version = name_of(ref)
    published = [str(each["version"]) for each in json.loads(run("mike", "list", "--json", "--ignore-remote-status"))]
    aliases = [LATEST] if is_latest(version, published) else []
    run("mike", "deploy", "--update-aliases", "--ignore-remote-status", "--allow-empty", version, *aliases)
    if aliases:
        run("mike", "set-default", "--ignore-remote-status", "--allow-empty", LATEST)
    add_not_found_page()
    print(f"The branch {BRANCH} has the documentation of {ref} as {' and '.join([version, *aliases])}.")


if __name__ == "__main__":
    main(sys.argv[1])
