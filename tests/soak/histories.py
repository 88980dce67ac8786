"""Minutes of random histories, longer than those of the tests and never the same, of the models in tests/python.

python tests/soak/histories.py --seconds 60
"""

import argparse
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

sys.path.append(str(Path(__file__).parent.parent / "python"))

# A failure prints the shortest history that shows it, as a program.
LONG = settings(
    max_examples=20, stateful_step_count=400, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def play(machine: type[RuleBasedStateMachine], seconds: float) -> None:
    count: Counter[str] = Counter()

    class Counted(machine):  # type: ignore[misc,valid-type]
        @invariant()
        def one_more_step(self) -> None:
            count["steps"] += 1

        def teardown(self) -> None:
            count["histories"] += 1
            super().teardown()

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        run_state_machine_as_test(Counted, settings=LONG)
    print(f"{machine.__name__}: {count['histories']} histories, {count['steps']} steps", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (300)")
    seconds = parser.parse_args().seconds
    # By name, since the tests are not checked by mypy as the rest is.
    for machine in (import_module("test_model").QueueMachine, import_module("test_model_full").Machine):
        play(machine, seconds / 2)


if __name__ == "__main__":
    main()
