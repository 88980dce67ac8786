"""Topics and filters: the same rules as for a queue in this process, and their subjects on the server."""

from collections.abc import Iterable, Sequence
from typing import Final, cast

from mpmc_queue.jetstream.errors import OptionError

LONGEST: Final = 255
"""Maximum bytes of a topic or filter."""
SHOWN: Final = LONGEST + 2
"""Maximum characters of it that an error shows."""

_FILTERS: Final = "a str, an iterable of str, or None"


def topic_of(value: object) -> str | None:
    """The argument `topic`, checked; None: without a topic."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"topic must be a str or None, not {type(value).__name__}")
    if (why := _fault(_utf8(value, "topic"), wildcards=False)) is not None:
        raise _bad('topic must be tokens joined by "."', value, why)
    return value


def filters_of(value: object) -> tuple[str, ...] | None:
    """The argument `topics`, checked; None: everything."""
    if value is None:
        return None
    if isinstance(value, str):
        return (_filter(value),)
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise TypeError(f"topics must be {_FILTERS}, not {type(value).__name__}")
    filters: list[str] = []
    for one in cast("Iterable[object]", value):
        if not isinstance(one, str):
            raise TypeError(f"topics must be {_FILTERS}, not an iterable of {type(one).__name__}")
        filters.append(_filter(one))
    if not filters:
        raise _bad(
            "topics must be at least one filter", cast("object", value), "there are no filters; None is for everything"
        )
    return tuple(filters)


def subject_of(base: str, topic: str | None) -> str:
    """The subject of a message: the queue's subject and the topic, or only the topic if the queue has no subject."""
    if topic is None:
        return base
    return f"{base}.{topic}" if base else topic


def topic_in(base: str, subject: str) -> str | None:
    """The topic of a message with this subject."""
    if subject == base:
        return None
    return subject[len(base) + 1 :] if base and subject.startswith(f"{base}.") else subject


def filter_subjects(base: str, filters: Sequence[str] | None, otherwise: Sequence[str]) -> list[str]:
    """The filters as subjects for the server; empty: everything. `otherwise` is the result if there are no filters.

    The server accepts no two filters that overlap. A filter that another one covers is left out.
    """
    if filters is None:
        return list(otherwise)
    subjects = list(dict.fromkeys(subject_of(base, one) for one in filters))
    kept = [one for one in subjects if not any(other != one and covers(other, one) for other in subjects)]
    for index, one in enumerate(kept):
        for other in kept[index + 1 :]:
            if overlap(one, other):
                raise OptionError(
                    f"topics must not overlap in part, for the server: {_short(base, one)!r} and {_short(base, other)!r}"
                )
    return kept


def filter_settings(subjects: Sequence[str]) -> dict[str, object]:
    """The filters' part of a consumer's configuration. (Servers before 2.10 have only the single form.)"""
    if not subjects:
        return {}
    return {"filter_subject": subjects[0]} if len(subjects) == 1 else {"filter_subjects": list(subjects)}


def filters_in(config: dict[str, object]) -> set[str]:
    """The filters in the configuration of an existing consumer."""
    several = cast("list[str]", config.get("filter_subjects") or [])
    one = cast("str", config.get("filter_subject") or "")
    return {*several, *([one] if one else [])}


def covers(wider: str, narrower: str) -> bool:
    """Whether every subject that `narrower` matches, `wider` matches, too."""
    wide, narrow = wider.split("."), narrower.split(".")
    for index, token in enumerate(wide):
        if index == len(narrow):
            return False
        if token == ">":
            return True
        if narrow[index] == ">" or token not in ("*", narrow[index]):
            return False
    return len(wide) == len(narrow)


def overlap(one: str, other: str) -> bool:
    """Whether one subject can match both."""
    left, right = one.split("."), other.split(".")
    for mine, theirs in zip(left, right, strict=False):
        if ">" in (mine, theirs):
            return True
        if "*" not in (mine, theirs) and mine != theirs:
            return False
    return len(left) == len(right)


def _filter(text: str) -> str:
    if (why := _fault(_utf8(text, "topics"), wildcards=True)) is not None:
        raise _bad('topics must be filters of tokens joined by "."', text, why)
    return text


def _utf8(text: str, argument: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _bad(f"{argument} must be text that UTF-8 can hold", text, "it holds a lone surrogate") from None
    return text


def _fault(text: str, *, wildcards: bool) -> str | None:
    """What is wrong with a topic or, with wildcards, a filter; None if it is valid."""
    if not text:
        return "it is empty"
    if (size := len(text.encode())) > LONGEST:
        return f"it takes {size} bytes of UTF-8; {LONGEST} are allowed"
    tokens = text.split(".")
    for number, token in enumerate(tokens, 1):
        if not token:
            return 'it has an empty token (a "." at an end, or two in a row)'
        if any(character.isspace() for character in token):
            return "it holds white space"
        wildcard = next((character for character in token if character in "*>"), None)
        if wildcard is None:
            continue
        if not wildcards:
            return '"*" and ">" are for filters (topics=), and a message has one definite topic'
        if len(token) > 1:
            return f'"{wildcard}" must be a whole token'
        if wildcard == ">" and number < len(tokens):
            return '">" must be the last token'
    return None


def _bad(expected: str, value: object, why: str) -> ValueError:
    # str's own repr, because a subclass may return anything.
    shown = str.__repr__(value) if isinstance(value, str) else repr(value)
    return ValueError(f"{expected}, not {shown[:SHOWN]}{'...' if len(shown) > SHOWN else ''}: {why}")


def _short(base: str, subject: str) -> str:
    return subject[len(base) + 1 :] if base else subject
