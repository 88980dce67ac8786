"""The standard library's logging with a queue of this package."""

import logging
import logging.config
import logging.handlers
import sys
import threading

import pytest

from helpers import PATIENCE
from mpmc_queue import Queue
from mpmc_queue.logging import Listener


class Collecting(logging.Handler):
    """Keeps the messages that it receives, and signals how many there are."""

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.texts = []
        self.changed = threading.Condition()

    def emit(self, record):
        with self.changed:
            self.texts.append(record.getMessage())
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.texts) >= count, PATIENCE)


@pytest.fixture
def make_log(make_queue):
    """make_log() -> a queue, and a logger of its own that enqueues its records there"""

    def make():
        queue = make_queue("log", overflow="drop_oldest")
        logger = logging.Logger("test")
        logger.addHandler(logging.handlers.QueueHandler(queue))
        return queue, logger

    return make


def test_records_reach_the_handlers_in_order(make_log):
    queue, logger = make_log()
    handlers = Collecting(), Collecting()
    listener = Listener(queue, *handlers)
    logger.info("before the start")
    listener.start()
    for number in range(100):
        logger.info("record %d", number)
    listener.stop()
    expected = ["before the start", *(f"record {number}" for number in range(100))]
    assert handlers[0].texts == handlers[1].texts == expected


def test_it_can_be_started_again(make_log):
    queue, logger = make_log()
    handler = Collecting()
    listener = Listener(queue, handler)
    for number in range(3):
        listener.start()
        logger.info("round %d", number)
        listener.stop()
        logger.info("between %d", number)
    assert handler.texts == ["round 0", "between 0", "round 1", "between 1", "round 2"]


def test_levels_of_handlers_are_respected_on_request(make_log):
    queue, logger = make_log()
    everything, warnings = Collecting(), Collecting(logging.WARNING)
    listener = Listener(queue, everything, warnings, respect_handler_level=True)
    listener.start()
    logger.info("info")
    logger.warning("warning")
    listener.stop()
    assert (everything.texts, warnings.texts) == (["info", "warning"], ["warning"])


def test_other_consumers_see_only_records(make_log):
    queue, logger = make_log()
    tap = queue.add_consumer("tap")
    listener = Listener(queue, Collecting())
    listener.start()
    logger.info("record")
    listener.stop()
    assert [record.getMessage() for record in tap.get_batch(9)] == ["record"]


def test_a_listener_can_use_a_given_consumer(make_log):
    queue, logger = make_log()
    logger.info("old")
    missed = []
    handler = Collecting()
    listener = Listener(queue.add_consumer("file", start="latest", on_missed=missed.append), handler)
    listener.start()
    logger.info("new")
    handler.wait_for(1)
    listener.stop()
    assert handler.texts == ["new"]


def test_the_thread_ends_with_the_queue(make_log):
    queue, logger = make_log()
    handler = Collecting()
    listener = Listener(queue, handler)
    listener.start()
    thread = listener._thread
    logger.info("last")
    queue.close()
    thread.join(PATIENCE)
    assert (thread.is_alive(), handler.texts) == (False, ["last"])
    listener.stop()


def test_the_thread_ends_with_its_consumer(make_log):
    queue, _ = make_log()
    consumer = queue.add_consumer()
    listener = Listener(consumer, Collecting())
    listener.start()
    thread = listener._thread
    consumer.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    listener.stop()


def test_a_slow_handler_does_not_block_the_logger(make_log):
    queue, logger = make_log()
    gate = threading.Event()

    class Slow(Collecting):
        def emit(self, record):
            assert gate.wait(PATIENCE)
            super().emit(record)

    handler = Slow()
    listener = Listener(queue, handler)
    listener.start()
    for number in range(10_000):
        logger.info("record %d", number)
    assert queue.memory_usage <= queue.max_bytes
    gate.set()
    listener.stop()
    assert handler.texts[-1] == "record 9999"


@pytest.mark.parametrize("source", [None, "queue", 5])
def test_anything_but_a_queue_or_a_consumer_is_refused(source):
    with pytest.raises(TypeError, match="source"):
        Listener(source)


@pytest.mark.thread_unsafe
@pytest.mark.skipif(sys.version_info < (3, 12), reason="dictConfig knows listeners from 3.12 on")
def test_dict_config_makes_queue_handler_and_listener():
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "collecting": {"()": Collecting},
                "queued": {
                    "class": "logging.handlers.QueueHandler",
                    "queue": {"()": Queue, "name": "log", "overflow": "drop_oldest"},
                    "listener": "mpmc_queue.logging.Listener",
                    "handlers": ["collecting"],
                    "respect_handler_level": True,
                },
            },
            "loggers": {"mpmc_queue.test": {"level": "INFO", "handlers": ["queued"], "propagate": False}},
        }
    )
    logger = logging.getLogger("mpmc_queue.test")
    (handler,) = logger.handlers
    listener = handler.listener
    assert isinstance(listener, Listener)
    listener.start()
    logger.info("configured")
    listener.stop()
    assert listener.handlers[0].texts == ["configured"]
    logger.removeHandler(handler)
