"""A logging handler that never blocks: the program goes on though the disk, or the network, does not."""

import logging
import threading

from mpmc_queue import Queue


class QueueHandler(logging.Handler):
    """Puts records into a queue that keeps the newest, and lets a thread of its own hand them on."""

    def __init__(self, target: logging.Handler, *, max_bytes: int = 1_000_000) -> None:
        super().__init__()
        self.queue = Queue[logging.LogRecord](
            "log", max_bytes=max_bytes, ttl=None, overflow="drop_oldest", retention="interest", audit=False
        )
        self._target = target
        self._consumer = self.queue.add_consumer("writer")
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        # As the standard library's QueueHandler: what the arguments say now, not when it is written.
        record.msg, record.args = record.getMessage(), None
        self.queue.enqueue(record)

    def close(self) -> None:
        """Writes what is left, then ends."""
        self.queue.close()
        self._thread.join()
        super().close()

    def _write(self) -> None:
        for message in self._consumer:
            if message.missed:
                text = f"{message.missed} records were dropped: the log could not keep up"
                self._target.handle(logging.makeLogRecord({"msg": text, "levelno": logging.WARNING}))
            self._target.handle(message.payload)


class SlowDisk(logging.Handler):
    """Takes no record before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.go_on.wait()
        self.lines.append(record.getMessage())


def main() -> None:
    disk = SlowDisk()
    handler = QueueHandler(disk, max_bytes=50_000)
    log = logging.getLogger("example")
    log.setLevel(logging.INFO)
    log.addHandler(handler)

    for n in range(1000):
        log.info("record %d", n)  # returns at once though not one of them can be written
    print(
        "logged 1000 records while the disk took none; memory in use is bounded:", handler.queue.memory_usage <= 50_000
    )

    disk.go_on.set()
    handler.close()
    notes = [line for line in disk.lines if "dropped" in line]
    records = [line for line in disk.lines if "dropped" not in line]
    dropped = handler.queue.stats().dropped
    print("every record was written or counted as dropped:", len(records) + dropped == 1000, "- the last:", records[-1])
    print("and the log says so:", sum(int(note.split()[0]) for note in notes) == dropped)


if __name__ == "__main__":
    main()
