"""A camera with two viewers: the fast one shows every frame, the slow one always the newest."""

import asyncio

from mpmc_queue import Consumer, Queue, QueueClosedError

FRAMES = 30


async def film(camera: Queue[int]) -> None:
    for number in range(FRAMES):
        await camera.aenqueue(number)
        await asyncio.sleep(0.002)
    camera.close()


async def show(frames: Consumer[int], seconds: float) -> list[int]:
    """Shows the newest frame, again and again, each for so long."""
    shown: list[int] = []
    try:
        while True:
            frame = await frames.aread_latest()
            assert frame is not None
            shown.append(frame.payload)
            await asyncio.sleep(seconds)
    except QueueClosedError:
        return shown


async def main() -> None:
    async with Queue[int]("camera", ttl=1, overflow="drop_oldest") as camera:
        fast, slow = camera.add_consumer("fast"), camera.add_consumer("slow")
        _, all_frames, some_frames = await asyncio.gather(film(camera), show(fast, 0), show(slow, 0.02))
        figures = slow.stats()
        print(f"fast: {len(all_frames)} frames, the last is {all_frames[-1]}")
        print(f"slow: {len(some_frames)} frames and {figures.passed_items} passed over, the last is {some_frames[-1]}")
        assert all_frames[-1] == some_frames[-1] == FRAMES - 1
        assert len(some_frames) + figures.passed_items == FRAMES
        assert some_frames == sorted(set(some_frames))


if __name__ == "__main__":
    asyncio.run(main())
