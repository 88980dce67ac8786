"""Options of consumers and groups that configure the server's consumer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpmc_queue.jetstream import arguments
from mpmc_queue.jetstream.errors import OptionError


@dataclass(frozen=True, slots=True)
class Making:
    """The options of `add_consumer` and `add_group` that configure the server's consumer."""

    create: bool
    """Whether it may be made; False: it exists."""
    settings: Mapping[str, Any]
    """Their part of the consumer's configuration."""

    def compare(self, name: str, found: Mapping[str, Any]) -> None:
        """Raises if the existing one has other options than were asked for."""
        for key, asked in self.settings.items():
            if (there := found.get(key) or type(asked)()) != asked:
                raise OptionError(f"{name!r} exists with other options: its {key} is {there}, not {asked}")


def making(create: object, inactive_threshold: object, replicas: object, storage: object) -> Making:
    """The arguments, checked."""
    if not isinstance(create, bool):
        raise TypeError(f"create must be a bool, not {type(create).__name__}")
    settings: dict[str, Any] = {}
    if inactive_threshold is not None:
        wait = arguments.seconds(inactive_threshold, "inactive_threshold")
        if wait == 0:
            raise ValueError("inactive_threshold must be positive, or None")
        settings["inactive_threshold"] = 0 if wait is None else round(wait * 1e9)
    if replicas is not None:
        settings["num_replicas"] = arguments.count_of(replicas, "replicas")
    if storage is not None:
        settings["mem_storage"] = arguments.one_of(storage, "storage", "file", "memory") == "memory"
    if settings and not create:
        raise OptionError("with create=False a consumer has its own inactive_threshold, replicas and storage")
    return Making(create, settings)
