"""The options of `connect`, checked, and the stream that they describe."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.codec import Codec, codec_from
from mpmc_queue.jetstream.errors import OptionError

DEDUPE: Final = 120.0
"""Seconds that the server remembers the ids of messages: the server's default."""

_NOT_HERE: Final = {
    "sizer": "the server counts bytes as they are stored: payloads are sized by the codec, not by a sizer",
    "audit": "the server keeps no record of who has read what",
}


@dataclass(slots=True, kw_only=True)
class Options:
    """The options given to `connect`, and the limits of the stream when the server was last asked."""

    name: str
    subject: str
    ttl: float | None
    max_bytes: int | None
    max_items: int | None
    retention: str
    overflow: str
    codec: Codec[Any]
    dedupe: float
    replicas: int
    storage: str
    prefetch: int
    patience: float
    more: Mapping[str, Any]
    """Other parts of the stream's configuration."""
    bound: bool = False
    """Whether the stream was made elsewhere, and is used as it is."""
    filters: tuple[str, ...] = ()
    """The subjects to read from a stream that also has other subjects than this queue's; empty: everything."""
    seen: float = 0.0
    """The monotonic time at which the limits were updated."""

    def see(self, config: Mapping[str, Any]) -> None:
        """Updates the limits from the stream's configuration, because an operator may have changed them."""
        self.ttl = config["max_age"] / 1e9 if config.get("max_age") else None
        self.max_bytes = config["max_bytes"] if config.get("max_bytes", -1) >= 0 else None
        self.max_items = config["max_msgs"] if config.get("max_msgs", -1) >= 0 else None
        self.seen = time.monotonic()

    def stream(self, *, msg_ttl: bool, atomic: bool) -> dict[str, Any]:
        """The stream's configuration; the flags are for features that only newer servers have."""
        config: dict[str, Any] = {
            "name": self.name,
            "subjects": [self.subject, f"{self.subject}.>"],
            "retention": self.retention,
            "discard": "new" if self.overflow == "reject" else "old",
            "max_bytes": -1 if self.max_bytes is None else self.max_bytes,
            "max_msgs": -1 if self.max_items is None else self.max_items,
            "max_age": 0 if self.ttl is None else round(self.ttl * 1e9),
            "duplicate_window": round(self.dedupe * 1e9),
            "num_replicas": self.replicas,
            "storage": self.storage,
            **self.more,
        }
        if msg_ttl:
            config["allow_msg_ttl"] = True
        if atomic:
            config["allow_atomic"] = True
        return config


def options(
    name: object,
    *,
    ttl: object,
    max_bytes: object,
    max_items: object,
    retention: object,
    overflow: object,
    codec: object,
    subject: object,
    dedupe: object,
    replicas: object,
    storage: object,
    prefetch: object,
    patience: object,
    max_msg_size: object,
    compression: object,
    placement: object,
    description: object,
    others: Mapping[str, object],
) -> Options:
    """The arguments of `connect`, checked."""
    for argument in others:
        if argument in _NOT_HERE:
            raise OptionError(f"{argument} is not to be had over JetStream: {_NOT_HERE[argument]}")
        raise TypeError(f"connect() has no argument {argument!r}")
    name = arguments.name_of(name, "name")
    if subject is None:
        subject = f"mpmc_queue.{name}"
    if not isinstance(subject, str):
        raise TypeError(f"subject must be a str, not {type(subject).__name__}")
    if not subject or any(part in ("", "*", ">") or any(c.isspace() for c in part) for part in subject.split(".")):
        raise ValueError(f"subject must be words joined by dots, without wildcards: {subject!r}")
    checked_ttl = arguments.queue_ttl(ttl)
    window = arguments.seconds(dedupe, "dedupe")
    if dedupe is None:
        window = DEDUPE if checked_ttl is None else min(DEDUPE, checked_ttl)
    if window is None or window < arguments.MIN_TTL or (checked_ttl is not None and window > checked_ttl):
        raise OptionError(f"dedupe must be at least {arguments.MIN_TTL} s and no longer than ttl: {dedupe!r}")
    waits = arguments.seconds(patience, "patience")
    if not waits:
        raise ValueError("patience must be positive and finite")
    return Options(
        name=name,
        subject=subject,
        ttl=checked_ttl,
        max_bytes=None if max_bytes is None else arguments.count_of(max_bytes, "max_bytes"),
        max_items=None if max_items is None else arguments.count_of(max_items, "max_items"),
        retention=arguments.one_of(retention, "retention", "limits", "interest"),
        overflow=arguments.one_of(overflow, "overflow", "reject", "drop_oldest"),
        codec=codec_from(codec),
        dedupe=window,
        replicas=arguments.count_of(replicas, "replicas"),
        storage=arguments.one_of(storage, "storage", "file", "memory"),
        prefetch=arguments.count_of(prefetch, "prefetch"),
        patience=waits,
        more=_more(max_msg_size, compression, placement, description),
    )


def _more(max_msg_size: object, compression: object, placement: object, description: object) -> dict[str, Any]:
    """The part of the stream's configuration from arguments that may be left out."""
    more: dict[str, Any] = {}
    if max_msg_size is not None:
        more["max_msg_size"] = arguments.count_of(max_msg_size, "max_msg_size")
        if more["max_msg_size"] >= 2**31:
            raise OverflowError(f"max_msg_size must be below 2**31: {max_msg_size!r}")
    if compression is not None:
        more["compression"] = arguments.one_of(compression, "compression", "none", "s2")
    if placement is not None:
        if not isinstance(placement, Mapping):
            raise TypeError(f"placement must be a mapping with cluster or tags, not {type(placement).__name__}")
        given = dict(cast("Mapping[str, Any]", placement))
        if not given or not given.keys() <= {"cluster", "tags"}:
            raise ValueError(f"placement must be a mapping with cluster or tags, not {given!r}")
        if "tags" in given:
            if isinstance(given["tags"], str) or not isinstance(given["tags"], Iterable):
                raise TypeError("the tags of placement must be an iterable of str")
            given["tags"] = [str(tag) for tag in cast("Iterable[object]", given["tags"])]
        more["placement"] = given
    if description is not None:
        if not isinstance(description, str):
            raise TypeError(f"description must be a str, not {type(description).__name__}")
        more["description"] = description
    return more


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """How an existing stream differs from what was asked for."""
    return [f"{key} is {found.get(key)!r}, not {value!r}" for key, value in asked.items() if found.get(key) != value]
