"""The exceptions: their bases, their attributes, their texts, and that they survive pickling."""

import copy
import pickle
import queue
import sys
import traceback

import pytest

from mpmc_queue import (
    ConsumerClosedError,
    ItemLimitError,
    MemoryLimitError,
    MessagesMissedError,
    QueueClosedError,
    QueueError,
    QueueFullError,
)

# One error of each class, and its attributes.
ERRORS: list[tuple[QueueError, dict[str, object]]] = [
    (QueueError("words"), {"message": "words"}),
    (QueueFullError(1, 2, 3), {"current": 1, "max": 2, "needed": 3}),
    (MemoryLimitError(10, 100, 95), {"current": 10, "max": 100, "needed": 95}),
    (ItemLimitError(5, 5, 1), {"current": 5, "max": 5, "needed": 1}),
    (MessagesMissedError(7), {"count": 7}),
    (QueueClosedError("closed"), {"message": "closed"}),
    (ConsumerClosedError("removed"), {"message": "removed"}),
]
every_error = pytest.mark.parametrize(("error", "figures"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])

ROUND_TRIPS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@every_error
def test_figures_are_attributes(error, figures):
    assert {name: getattr(error, name) for name in figures} == figures


@every_error
def test_message_is_what_str_gives(error, figures):
    assert str(error) == error.message != ""


@pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
@every_error
def test_round_trip_keeps_type_figures_message_and_notes(error, figures, round_trip):
    original = copy.copy(error)
    original.add_note("while testing")
    again = round_trip(original)
    assert again is not original
    assert type(again) is type(error)
    assert {name: getattr(again, name) for name in figures} == figures
    assert (str(again), again.message, again.args) == (str(error), error.message, error.args)
    assert again.__notes__ == ["while testing"]


@every_error
def test_traceback_names_the_public_module(error, figures):
    line = traceback.format_exception_only(error)[-1]
    assert line.startswith(f"mpmc_queue.{type(error).__name__}: ")


@every_error
def test_every_error_is_a_queue_error(error, figures):
    assert isinstance(error, QueueError)


@pytest.mark.parametrize("kind", [QueueFullError, MemoryLimitError, ItemLimitError])
def test_queue_full_error_is_a_queue_full(kind):
    assert issubclass(kind, QueueFullError)
    assert issubclass(kind, queue.Full)


def test_queue_closed_error_is_a_queue_shutdown_if_that_exists():
    if sys.version_info >= (3, 13):
        assert issubclass(QueueClosedError, queue.ShutDown)
    assert not issubclass(QueueClosedError, queue.Full)


@pytest.mark.parametrize("kind", [MemoryLimitError, ItemLimitError])
def test_the_message_of_a_full_queue_says_whether_the_payload_can_ever_fit(kind):
    now, never = str(kind(90_000, 100_000, 20_000)), str(kind(0, 100_000, 200_000))
    assert all(figure in now for figure in ("90,000", "100,000", "20,000", "timeout="))
    assert all(figure in never for figure in ("100,000", "200,000", "never"))
    assert "timeout=" not in never


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 message left"), (2, "2 messages left"), (1234, "1,234 messages left")]
)
def test_missed_message_counts_in_words(count, words):
    assert str(MessagesMissedError(count)).startswith(words)


@pytest.mark.parametrize(
    "error",
    [
        QueueError("words", queue="orders"),
        MemoryLimitError(1, 2, 3, ahead=2, queue="orders"),
        ItemLimitError(1, 2, 3, queue="orders"),
        MessagesMissedError(4, queue="orders"),
        QueueClosedError("words", queue="orders"),
        ConsumerClosedError("words", queue="orders"),
    ],
)
def test_an_error_names_its_queue_also_after_pickle_and_copy(error):
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (same.queue, str(same), vars(same)) == ("orders", str(error), vars(error))
        assert "queue 'orders': " in same.message == str(same)


def test_an_error_without_a_queue_has_no_name():
    assert (QueueError("words").queue, str(QueueError("words"))) == (None, "words")


def test_a_refusal_says_what_producers_ahead_wait_for():
    assert "others wait ahead in line for 2," in str(ItemLimitError(4, 5, 3, ahead=2))
    assert "can never fit" in str(ItemLimitError(4, 5, 8, ahead=2))
    assert "ahead" not in str(ItemLimitError(4, 5, 3))
