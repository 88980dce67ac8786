"""The subjects of topics and filters on the server. The rules for both are those of a queue in this process."""

from collections.abc import Sequence
from typing import cast

from mpmc_queue.jetstream.errors import OptionError


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


def _short(base: str, subject: str) -> str:
    return subject[len(base) + 1 :] if base else subject
