"""The command line: `python -m mpmc_queue`."""

import argparse
import math
import os
import sys
from collections.abc import Sequence

from mpmc_queue import __version__

DESCRIPTION = """\
An in-process, memory-bounded broadcast queue: every consumer reads every
message at its own pace.
"""

DEMO = """\
Runs real producers and consumers, each in a thread of its own, over one queue
whose messages live for one second. The first consumer keeps up, the ones in
the middle read in batches, and the last is so slow that messages expire before
it gets to them: it misses most of them, and the queue counts exactly how many.

While it runs you see messages per second, memory against the limit, and how
far behind each consumer is. At the end the books are checked: for every
consumer, enqueued = read + missed + unread.
"""

EXIT_CODES = """\
exit code: 0 when the books balance, 1 when they do not, 130 after Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return 0
    from mpmc_queue._demo import run

    try:
        return run(seconds=options.seconds, producers=options.producers, consumers=options.consumers)
    except BrokenPipeError:
        # Whoever read our output has left (`| head`); keep the flush at exit from failing over it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mpmc_queue", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"mpmc_queue {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")
    demo = commands.add_parser(
        "demo",
        help="watch producers and consumers share a queue",
        description=DEMO,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("--seconds", type=_seconds, default=6.0, metavar="N", help="how long to run (default: 6)")
    demo.add_argument("--producers", type=_count, default=2, metavar="N", help="threads that enqueue (default: 2)")
    demo.add_argument("--consumers", type=_count, default=3, metavar="N", help="threads that read (default: 3)")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return value


if __name__ == "__main__":
    sys.exit(main())
