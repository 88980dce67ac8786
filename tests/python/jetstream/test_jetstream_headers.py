"""Headers of the application, and the trace context that is sent with a message."""

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from helpers import PATIENCE

jetstream = pytest.importorskip("mpmc_queue.jetstream", reason="nats-py is not installed", exc_type=ImportError)

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")


def test_headers_arrive_unchanged(run_remote):
    async def main(place):
        queue = await place.queue()
        reader, member = queue.add_consumer(), queue.add_group("g", ack_wait=30).add_consumer()
        given = {"tenant": "acme", "X-Note": "über 5 €: a=b; c", "empty": ""}
        await queue.aenqueue({"order": 1}, headers=given, topic="a")
        await queue.aenqueue_batch([1, 2], headers={"n": "1"})
        await queue.aenqueue_batch([3, 4], headers={"n": "2"}, atomic=False)
        await queue.aenqueue("plain", ttl=5)
        for consumer in (reader, member):
            read = [await consumer.aread() for _ in range(6)]
            assert [dict(message.headers) for message in read] == [given, *[{"n": "1"}] * 2, *[{"n": "2"}] * 2, {}]
            assert [message.payload for message in read] == [{"order": 1}, 1, 2, 3, 4, "plain"]
            assert len({message.id for message in read}) == 6
            with pytest.raises(TypeError):
                read[0].headers["more"] = "1"

    run_remote(main)


def test_headers_of_other_clients_are_read(run_remote):
    async def main(place):
        queue = await place.queue()
        headers = {"a": "1", "Nats-Msg-Id": "7", "Content-Type": "application/json"}
        await queue._server.client.jetstream().publish(queue._options.subject, b"[1]", headers=headers)
        message = await queue.add_consumer().aread()
        assert (message.payload, message.headers) == ([1], {"a": "1"})

    run_remote(main)


@pytest.mark.parametrize(
    ("headers", "error", "words"),
    [
        ({"a b": "x"}, ValueError, "a name is"),
        ({"ä": "x"}, ValueError, "a name is"),
        ({"": "x"}, ValueError, "a name is"),
        ({"a:": "x"}, ValueError, "a name is"),
        ({"a": "x\r\nNats-TTL: 1s"}, ValueError, "one line"),
        ({"a": "x\ny"}, ValueError, "one line"),
        ({"a": " x"}, ValueError, "white space around"),
        ({"a": "\ud800"}, ValueError, "surrogate"),
        ({"nats-ttl": "1s"}, ValueError, "the server's"),
        ({"Nats-Rollup": "all"}, ValueError, "the server's"),
        ({"content-type": "x"}, ValueError, "the codec's"),
        ({"a": 1}, TypeError, "str to int"),
        ({1: "a"}, TypeError, "int to str"),
        ([("a", "b")], TypeError, "not list"),
    ],
)
def test_an_invalid_header_is_refused_and_nothing_is_sent(run_remote, headers, error, words):
    async def main(place):
        queue = await place.queue()
        for call in (queue.aenqueue(1, headers=headers), queue.aenqueue_batch([1, 2], headers=headers)):
            with pytest.raises(error, match=f"headers must be.*{words}"):
                await call
        assert (await queue.stats()).next_seq == 0

    run_remote(main)


def test_headers_count_towards_the_largest_message(run_remote):
    async def main(place):
        queue = await place.queue(max_bytes=8_000_000)
        with pytest.raises(jetstream.ServerError, match="max_payload"):
            await queue.aenqueue(b"x" * (2**20 - 20_000), headers={"large": "y" * 20_000})
        with pytest.raises(jetstream.ServerError, match="64k"):
            await queue.aenqueue(b"x", headers={"large": "y" * 70_000})
        assert await queue.aenqueue(b"x", headers={"large": "y" * 60_000}) == 0
        assert len((await queue.add_consumer().aread()).headers["large"]) == 60_000

    run_remote(main)


def test_a_dead_letter_keeps_its_headers(run_remote):
    async def main(place):
        queue, graves = await place.queue(), await place.queue()
        member = queue.add_group("g", ack_wait=30, dead_letter=graves).add_consumer()
        await queue.aenqueue("tea", headers={"tenant": "acme"}, ttl=60)
        (await member.aread()).term()
        letter = await asyncio.wait_for(graves.add_consumer().aread(), PATIENCE)
        assert (letter.payload, letter.headers) == ("tea", {"tenant": "acme"})

    run_remote(main)


def test_the_trace_context_is_sent_with_the_message(run_remote):
    baggage = pytest.importorskip("opentelemetry.baggage")
    context = pytest.importorskip("opentelemetry.context")
    propagate = pytest.importorskip("opentelemetry.propagate")
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))

    async def main(place):
        queue = await place.queue()
        current = baggage.set_baggage("tenant", "acme", trace.set_span_in_context(trace.NonRecordingSpan(span)))
        token = context.attach(current)
        try:
            await queue.aenqueue("one", headers={"mine": "1"})
            await queue.aenqueue_batch(["two", "three"])
            await queue.aenqueue("given", headers={"traceparent": "other"})
        finally:
            context.detach(token)
        await queue.aenqueue("none")
        read = await queue.add_consumer().aread_batch(5)
        for message in read[:3]:
            extracted = propagate.extract(message.headers)
            assert trace.get_current_span(extracted).get_span_context().trace_id == span.trace_id
            assert baggage.get_baggage("tenant", extracted) == "acme"
        assert read[0].headers["mine"] == "1"
        assert read[3].headers["traceparent"] == "other"
        assert dict(read[4].headers) == {}

    run_remote(main)


def test_a_synchronous_queue_sends_the_trace_context_of_the_calling_thread(nats):
    context = pytest.importorskip("opentelemetry.context")
    propagate = pytest.importorskip("opentelemetry.propagate")
    trace = pytest.importorskip("opentelemetry.trace")

    def enqueue_in_span(queue, number):
        span = trace.SpanContext(number, number, is_remote=False, trace_flags=trace.TraceFlags(1))
        token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
        try:
            queue.enqueue(number)
            queue.enqueue_batch([number, number])
        finally:
            context.detach(token)

    with jetstream.connect_sync(nats.url, f"traced-{os.getpid()}-{threading.get_ident()}") as queue:
        threads = [threading.Thread(target=enqueue_in_span, args=(queue, number)) for number in (7, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        queue.enqueue(0)
        for message in queue.add_consumer().read_batch(7):
            extracted = trace.get_current_span(propagate.extract(message.headers))
            assert extracted.get_span_context().trace_id == message.payload


def test_a_program_without_opentelemetry_does_not_import_it(nats):
    program = f"""
import asyncio, sys
from mpmc_queue import jetstream

async def main():
    async with await jetstream.connect({nats.url!r}, "no-telemetry") as queue:
        await queue.aenqueue(1, headers={{"a": "b"}})
        assert (await queue.add_consumer().aread()).headers == {{"a": "b"}}

asyncio.run(main())
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)
