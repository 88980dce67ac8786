"""Waiting until messages have been lost: by polling, because the server does not report it."""

import asyncio
from collections.abc import Callable
from typing import Final

from mpmc_queue.jetstream.feed import Feed
from mpmc_queue.jetstream.waiters import Waiters

LOOK: Final = 0.2
"""Seconds between checks of the stream."""


async def lost_beyond(
    told: int, feed: Feed, waiters: Waiters, deadline: float | None, may_lose: Callable[[], bool]
) -> None:
    """Waits until more has been lost than `told`, the deadline is over, or nothing more can be lost."""
    loop = asyncio.get_running_loop()
    while True:
        is_over = not may_lose()
        if feed.lost == told:
            await feed.count_lost()
        if feed.lost != told or is_over or (deadline is not None and loop.time() >= deadline):
            return
        look = loop.time() + LOOK
        await waiters.wait(look if deadline is None else min(look, deadline))
