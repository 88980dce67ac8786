"""The instruments for OpenTelemetry."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from mpmc_queue import __version__
from mpmc_queue._watching import Watchable, Watched
from mpmc_queue.metrics._table import METRICS, Kind, Metric, Reading, read

STALE: Final = 1.0
"""Seconds for which instruments share one reading."""

_INSTRUMENTED: Final[WeakSet[MeterProvider]] = WeakSet()
_LOCK: Final = threading.Lock()


def instrument(
    queues: Watchable | Iterable[Watchable], *, meter_provider: MeterProvider | None = None
) -> "Instruments":
    """Makes observable instruments that read the queues whenever OpenTelemetry collects.

    queues          a Queue or several, referred to weakly; also those of `mpmc_queue.jetstream`. Call `add` on the returned
                    object to watch more.
    meter_provider  the provider that gets the instruments; None: the global one.

    Call it once per provider, and `add` further queues to the returned object: instruments can never be removed. Raises
    TypeError for an object that is not a Queue, and ValueError when two queues have the same name, or when the provider has
    the instruments already.

    >>> from mpmc_queue import Queue
    >>> queue = Queue("orders")
    >>> instruments = instrument(queue)
    >>> instruments.add(Queue("invoices"))
    """
    instruments = Instruments(queues)
    provider = meter_provider or get_meter_provider()
    with _LOCK:
        if provider in _INSTRUMENTED:
            raise ValueError(
                "the meter provider has metrics of mpmc_queue already: add the queues to what instrument() returned"
            )
        _INSTRUMENTED.add(provider)
    meter = provider.get_meter("mpmc_queue", __version__)
    makers: dict[Kind, Callable[..., object]] = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.AMOUNT: meter.create_observable_up_down_counter,
        Kind.LEVEL: meter.create_observable_gauge,
    }
    for metric in METRICS:
        callback = instruments.callback(metric)
        makers[metric.kind](metric.otel, callbacks=[callback], unit=metric.unit, description=metric.help)
    return instruments


class Instruments:
    """The queues that the instruments read. `instrument` makes it; the instruments keep it alive."""

    def __init__(self, queues: Watchable | Iterable[Watchable]) -> None:
        self._watched = Watched(queues, distinct_names=True)
        self._lock = threading.Lock()
        self._readings: list[tuple[str, Reading]] = []
        self._taken = -STALE
        self._served: set[str] = set()

    def add(self, queue: Watchable) -> None:
        """Watches one more queue; nothing happens if it is watched already."""
        self._watched.add(queue)

    def discard(self, queue: Watchable) -> None:
        """Stops watching a queue; nothing happens if it was not watched."""
        self._watched.discard(queue)

    def callback(self, metric: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterator[Observation]:
            for name, reading in self._readings_for(metric.name):
                for labels, value in metric.values(reading):
                    # An empty attribute is left out.
                    pairs = zip(metric.labels, labels, strict=True)
                    yield Observation(value, {"queue": name} | {key: label for key, label in pairs if label})

        return observe

    def _readings_for(self, metric: str) -> list[tuple[str, Reading]]:
        """The same readings for all instruments of one collection; an instrument that asks again starts a new one."""
        with self._lock:
            if metric not in self._served and time.monotonic() - self._taken < STALE:
                self._served.add(metric)
                return self._readings
        readings = read(self._watched)  # not under the lock: a server may take a while to answer
        with self._lock:
            self._readings, self._taken, self._served = readings, time.monotonic(), {metric}
            return readings
