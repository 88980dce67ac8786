"""The long version of `python -m mpmc_queue bench`: more rounds, more peers, growth, memory, threads and topics.

Run by `make bench-python`.
"""

import argparse
import json
import sys
import sysconfig
from pathlib import Path

import figures
import growth
import memory
import peers
import threads
import topics
from mpmc_queue.cli import bench

ROOT = Path(__file__).resolve().parents[2]
TAG = (sysconfig.get_config_var("EXT_SUFFIX") or ".python").split(".")[1]
"""What the interpreter calls its extension modules."""


def main() -> int:
    """Measures everything, and returns the exit code."""
    options = parse()
    if problem := bench.obstacle(plot=options.plot is not None):
        print(problem, file=sys.stderr)
        return 2
    print(bench.interpreter(), flush=True)
    for name in ("janus", "culsans"):
        if not bench.is_installed(name):
            print(f"{name} is not installed: left out.")

    lone = memory.resident(options.held)  # first, while the process has used little memory
    figures.show(lone)
    results = bench.measure(bench.cases(), range(options.rounds))
    bench.show(results, sys.stdout, limits=True)
    beside = bench.measure(peers.cases(), range(options.rounds))
    peers.show(beside)

    grown = growth.Growth(options.held)
    compared = bench.measure([*grown.cases(), *threads.cases(), *topics.cases()], range(options.rounds))
    bench.show(compared, sys.stdout, limits=True)
    more = grown.figures()
    del grown
    more += memory.pause(options.held) + threads.figures(max(1, options.rounds // 10))
    figures.show(more)

    document = bench.document([*results, *compared], limits=True)
    document["beside"] = bench.document(beside, limits=False)["cases"]
    document["figures"] = figures.document([*lone, *more])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\nWritten: {options.json}")
    if options.plot is not None:
        from plot import draw_all

        for file in draw_all(results, beside, options.plot, TAG):
            print(f"Written: {file}")

    over = [result.case.name for result in (*results, *compared) if result.over]
    over += [figure.name for figure in (*lone, *more) if figure.over]
    if over:
        print(f"Over the limit: {'; '.join(over)}.")
    return 1 if over and options.check else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python benches/python", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="how many rounds (default: 400)")
    parser.add_argument(
        "--held", type=int, default=3_000_000, metavar="N", help="messages that count as many (default: 3,000,000)"
    )
    parser.add_argument("--check", action="store_true", help="exit code 1 when anything is over its limit")
    parser.add_argument(
        "--json",
        type=Path,
        default=ROOT / "benches" / "results" / f"python-{TAG}.json",
        metavar="FILE",
        help="where the figures go (default: %(default)s)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=ROOT / "docs" / "images",
        metavar="DIR",
        help="draw pictures, into docs/images/ unless told otherwise (needs matplotlib)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
