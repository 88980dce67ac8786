"""The command line: `python -m mpmc_queue`."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence

from mpmc_queue import __version__

DESCRIPTION = """\
An in-process, memory-bounded broadcast queue: every consumer reads every
message at its own pace.
"""

EXAMPLES = """\
examples:
  {prog} demo --seconds 60 --consumers 8
  {prog} bench --seconds 30 --json figures.json
  {prog} demo --help      more about one command
"""

DEMO = """\
Runs real producers and consumers, each in a thread of its own, over one queue
whose messages live for one second. The first consumer keeps up, the ones in
the middle read in batches, and the last is so slow that messages expire before
it gets to them: it misses most of them, and the queue counts exactly how many.

It shows messages per second, memory against the limit, and how far behind each
consumer is. The producers are slow on purpose, so that you can watch: `bench`
shows what the queue can do. On a terminal the figures change in place (as a
table where rich is installed: pip install "mpmc-queue[cli]"); elsewhere there
is a line for each second. At the end the demo checks for each consumer that
enqueued = read + missed + unread.

With --web it also serves the live dashboard, opens it in your browser, and
runs until Ctrl-C. By default only this machine can open it. With
--host 0.0.0.0 others can, too, with the token in the address that is printed.
"""

EXIT_CODES = """\
exit code: 0 when all counts are correct, 1 when one is not, 2 for wrong
arguments, when the port of --web is in use, or when the NATS server or nats-py
is missing, 130 after Ctrl-C
"""

BENCH = """\
Measures what a message costs, beside what you would write with the standard
library's queues (and with janus and culsans, where they are installed). They
take turns in short rounds; the fastest round of each counts. "Fan-out to 4, a
delivery" is one message for four consumers, divided by four. "Wake-up" is from
a put to the return of a get that was waiting for it.

It takes a few seconds. Other programs at work on the machine disturb it: more
rounds make up for that.
"""

BENCH_EXIT_CODES = """\
exit code: 0, whatever the figures; 1 when a file cannot be written, 2 for
wrong arguments, when mpmc_queue is a debug build, or for --plot without
matplotlib, 130 after Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return 0
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`): keep the flush at exit from failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _demo(options: argparse.Namespace) -> int:
    if not options.web and (options.host is not None or options.port is not None):
        print("--host and --port are for --web: pass --web, too", file=sys.stderr)
        return 2
    if options.nats is not None:
        if options.web:
            print("--web cannot be used together with --nats: pass one of them", file=sys.stderr)
            return 2
        try:
            from mpmc_queue.cli.demo_jetstream import run as run_over_jetstream
        except ImportError as error:
            print(error, file=sys.stderr)
            return 2
        return run_over_jetstream(
            options.nats, seconds=options.seconds or 6.0, producers=options.producers, consumers=options.consumers
        )
    from mpmc_queue.cli.demo import run

    seconds = options.seconds or (math.inf if options.web else 6.0)
    return run(
        seconds=seconds,
        producers=options.producers,
        consumers=options.consumers,
        web=options.web,
        host="127.0.0.1" if options.host is None else options.host,
        port=options.port or 0,
        out=sys.stdout,
    )


def _bench(options: argparse.Namespace) -> int:
    from mpmc_queue.cli.bench import run

    return run(
        rounds=options.rounds,
        seconds=options.seconds,
        json_file=options.json_file,
        plot_file=options.plot_file,
        limits=options.limits,
        out=sys.stdout,
    )


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help without the line that names the list of commands: its title does that."""

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        return text.partition("\n")[2] if action.nargs == argparse.PARSER else text


def _parser() -> argparse.ArgumentParser:
    # Show the name that the user typed: the installed command, or the module.
    prog = "mpmc-queue" if os.path.basename(sys.argv[0]).startswith("mpmc-queue") else "python -m mpmc_queue"
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EXAMPLES.format(prog=prog),
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"mpmc_queue {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands")
    demo = commands.add_parser(
        "demo",
        help="watch producers and consumers share a queue",
        description=DEMO,
        epilog=EXIT_CODES,
        formatter_class=_Help,
    )
    demo.add_argument(
        "--seconds", type=_seconds, metavar="N", help="how long to run (default: 6; with --web until Ctrl-C)"
    )
    demo.add_argument("--producers", type=_count, default=2, metavar="N", help="threads that enqueue (default: 2)")
    demo.add_argument("--consumers", type=_count, default=3, metavar="N", help="threads that read (default: 3)")
    demo.add_argument("--web", action="store_true", help="also serve the dashboard, and open it in the browser")
    demo.add_argument("--host", metavar="ADDRESS", help="address that --web listens on (default: 127.0.0.1)")
    demo.add_argument("--port", type=_port, metavar="N", help="port that --web listens on (default: a free one)")
    demo.add_argument(
        "--nats",
        metavar="URL",
        help='use a queue on this NATS server with JetStream (needs pip install "mpmc-queue[jetstream]")',
    )
    demo.set_defaults(run=_demo)
    bench = commands.add_parser(
        "bench",
        help="measure what a message costs, beside other queues",
        description=BENCH,
        epilog=BENCH_EXIT_CODES,
        formatter_class=_Help,
    )
    length = bench.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=_rounds, metavar="N", help="how many rounds (default: 200)")
    length.add_argument("--seconds", type=_seconds, metavar="N", help="measure for this long instead")
    bench.add_argument("--json", dest="json_file", metavar="FILE", help="write the figures to a file")
    bench.add_argument(
        "--plot", dest="plot_file", metavar="FILE", help="draw the ratios into a PNG file (needs matplotlib)"
    )
    bench.add_argument(
        "--limits", action="store_true", help="for developers of mpmc_queue: show the limit of each ratio"
    )
    bench.set_defaults(run=_bench)
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
    return _number(text, 100)


def _port(text: str) -> int:
    return _number(text, 65_535)


def _rounds(text: str) -> int:
    return _number(text, 1_000_000)


def _number(text: str, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
    return value


if __name__ == "__main__":
    sys.exit(main())
