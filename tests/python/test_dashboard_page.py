"""The dashboard in a real browser: problems come first; queues are found by name, keyboard or address."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from browsing import Tab, expect
from harness import acking_group, eventually
from helpers import expire_all
from mpmc_queue import Queue, QueueFullError
from mpmc_queue.dashboard import Server, _sample

pytestmark = pytest.mark.thread_unsafe

PHONE = {"width": 390, "height": 844}
STOPS = 20  # maximum number of tab stops on a page of many rows


def names(shown: Tab) -> list[str]:
    return shown.texts("#queues td.name > span:first-child")


def overflow(queue: Queue[Any]) -> None:
    with pytest.raises(QueueFullError):
        queue.enqueue("x" * 2_000_000)


@pytest.fixture
def troubled(make_queue: Any, dashboard: Callable[..., Server]) -> Server:
    """Queues in several states, in this order: calm, missing, full, and one that is full on purpose."""
    calm = make_queue("calm")
    calm.add_consumer("reader")
    missing = make_queue("missing messages")
    missing.add_consumer("late")
    full = make_queue("full up", max_items=2, ttl=None)
    full.add_consumer("slow")
    full.enqueue_batch("ab")
    tap = make_queue("tap", max_items=2, overflow="drop_oldest")
    tap.enqueue_batch("ab")
    tap.enqueue("c")
    server = dashboard([calm, missing, full, tap])
    eventually(lambda: 0 in server._feed._samples)
    missing.enqueue("lost")
    expire_all(missing)
    return server


# --- problems ---------------------------------------------------------------------------------------------------------


def test_what_is_missed_redelivered_and_dead_lettered_is_listed_and_charted(dashboard, tab):
    dead = Queue[Any]("dead", ttl=None)
    group = acking_group("a", "b", "c", dead_letter=dead)
    late = group.queue.add_consumer("late")
    member = group.add_consumer("one")
    shown = tab().open(dashboard([group.queue]).url)
    row = shown.page.locator("#queues tbody tr")

    def figures() -> list[str]:
        return [shown.of(row, key).inner_text() for key in ("missed", "redelivered", "dead_lettered")]

    assert figures() == ["0", "0", "0"]
    assert row.locator(".tag").count() == 0
    member.read().nack()
    member.read().term()
    expire_all(group.queue)
    # The group missed two of three messages, the consumer all three.
    expect(shown.of(row, "missed")).to_have_text("5")
    assert figures() == ["5", "1", "1"]
    expect(shown.of(row, "missed")).to_have_class(re.compile(r"\bbad\b"))
    expect(row.locator(".tag.bad")).to_have_text("missed")
    expect(shown.cell("readers", "late", "missed")).to_have_text("3")
    legend = shown.page.locator("figure", has_text="Trouble per second").locator(".legend .line")
    assert [re.sub(r" [\d.,]+/s$", "", text) for text in legend.all_inner_texts()] == [
        "missed", "redelivered", "dead letters",
    ]  # fmt: skip
    description = shown.page.locator("canvas[data-chart=trouble]")
    expect(description).to_have_attribute(
        "aria-label", re.compile(r"missed .* to [1-9][\d,]*/s; redelivered .* to [1-9]")
    )
    assert late.missed_count == 3


def test_expired_messages_that_all_have_read_are_not_a_problem(make_queue, dashboard, tab):
    queue = make_queue("log")
    reader = queue.add_consumer("reader")
    shown = tab().open(dashboard(queue).url)
    queue.enqueue_batch(range(10))
    reader.read_batch(10)
    expire_all(queue)
    expect(shown.page.locator("[data-setting=left]")).to_have_text("10 expired, 0 dropped")
    assert shown.of(shown.page.locator("#queues tbody tr"), "missed").inner_text() == "0"
    assert shown.page.locator("#queues .tag").count() == 0


def test_the_summary_counts_problems_and_shows_only_those(troubled, tab):
    shown = tab().open(troubled.url)
    shown.is_told("#summary button[data-kind=missing]", "1 with missed messages")
    shown.is_told("#summary button[data-kind=full]", "1 full")
    shown.is_told("#totals", re.compile(r"^4 queues, 3 consumers, "))
    assert names(shown) == ["calm", "missing messages", "full up", "tap"]
    shown.page.click("#summary button[data-kind=missing]")
    assert names(shown) == ["missing messages"]
    shown.page.click("#summary button[data-kind=full]")
    assert names(shown) == ["full up"]
    shown.page.click("#summary button[data-kind=full]")
    assert len(names(shown)) == 4
    expect(shown.page.locator("#summary button[data-kind=stalled]")).to_be_disabled()


def test_a_stalled_reader_is_reported(make_queue, dashboard, tab, monkeypatch):
    monkeypatch.setattr(_sample, "STALLED", 0.2)
    queue = make_queue("orders")
    stalled = queue.add_consumer("stalled")
    queue.add_group("workers").add_consumer("one").read()
    idle = queue.add_consumer("idle")
    queue.enqueue("a")
    idle.read()
    shown = tab().open(dashboard(queue).url)
    shown.is_told("#summary button[data-kind=stalled]", "1 stalled")
    expect(shown.page.locator("#queues .tag.warn")).to_have_text("stalled")
    flagged = shown.page.locator("#readers tbody tr", has=shown.page.locator(".tag.warn"))
    assert sorted(flagged.locator("td.label > span:first-child").all_inner_texts()) == ["stalled", "workers"]
    stalled.read()
    queue.get_group("workers").members[0].read()
    shown.is_told("#summary button[data-kind=stalled]", "0 stalled")


def test_the_time_until_messages_are_missed(make_queue, dashboard, tab):
    queue = make_queue("orders", ttl=3600)
    reader = queue.add_consumer("reader")
    shown = tab().open(dashboard(queue).url)
    row = shown.page.locator("#queues tbody tr")
    assert shown.of(row, "loss").inner_text() == ""
    expect(shown.page.locator("[data-setting=loss]")).to_have_text("all is read")
    queue.enqueue("a")
    expect(shown.of(row, "loss")).to_have_text(re.compile(r"^59 min \d+ s$"))
    expect(shown.cell("readers", "reader", "loss")).to_have_text(re.compile(r"^59 min \d+ s$"))
    queue.ttl = None
    expect(shown.of(row, "loss")).to_have_text("")
    expect(shown.page.locator("[data-setting=loss]")).to_have_text("never by time")
    reader.read()
    expect(shown.page.locator("[data-setting=loss]")).to_have_text("all is read")


# --- finding a queue --------------------------------------------------------------------------------------------------


def test_queues_are_sorted_and_filtered(make_queue, dashboard, tab):
    queues = [make_queue(name) for name in ("b", "a 10", "a 9")]
    for number, queue in enumerate(queues):
        queue.enqueue_batch(range(number))
    shown = tab().open(dashboard(queues).url)
    assert names(shown) == ["b", "a 10", "a 9"]
    heading = shown.page.locator("#queues th.items")
    for order, expected in (("descending", ["a 9", "a 10", "b"]), ("ascending", ["b", "a 10", "a 9"])):
        heading.locator("button").click()
        assert names(shown) == expected
        assert heading.get_attribute("aria-sort") == order
    heading.locator("button").click()  # in the order they were added
    assert heading.get_attribute("aria-sort") is None
    shown.page.click("#queues th.name button")
    assert names(shown) == ["a 9", "a 10", "b"]
    shown.page.fill("#queue-filter", "A ")
    assert names(shown) == ["a 9", "a 10"]
    shown.page.fill("#queue-filter", "c")
    shown.is_told("#no-queues", "No queue matches.")


def test_the_settings_of_the_chosen_queue(make_queue, dashboard, tab):
    queue = make_queue("orders", ttl=90, max_items=7, max_bytes=2048)
    queue.add_consumer("reader")
    queue.add_group("workers")
    queue.enqueue_batch("ab")
    shown = tab().open(dashboard(queue).url)

    def setting(name: str) -> Any:
        return expect(shown.page.locator(f"#settings [data-setting={name}]"))

    shown.is_told("#chosen-title", "orders")
    setting("ttl").to_have_text("1 min 30 s")
    setting("limits").to_have_text("2 KiB, 7 messages")
    setting("held").to_have_text(re.compile(r"^\d+ B, 2 messages, the oldest .* old$"))
    setting("readers").to_have_text("1 consumer, 1 group")
    setting("enqueued").to_have_text("2")
    setting("audit").to_have_text("0 B, complete")
    overflow(queue)
    setting("refused").to_have_text("1")
    queue.max_items, queue.ttl = None, None
    setting("limits").to_have_text("2 KiB, any number of messages")
    setting("ttl").to_have_text("no limit")
    queue.ttl = 5
    queue.disable_expiration()
    setting("ttl").to_have_text("5 s, but nothing expires now")


@pytest.mark.parametrize(
    ("options", "retention", "overflow"),
    [
        ({}, "kept until its TTL", "refuses new messages when full"),
        ({"ttl": None, "overflow": "drop_oldest"}, "kept, read or not", "drops its oldest when full"),
        ({"retention": "interest"}, "leaves once read by all", "refuses new messages when full"),
    ],
)
def test_retention_and_overflow_in_words(make_queue, dashboard, tab, options, retention, overflow):
    shown = tab().open(dashboard(make_queue(**options)).url)
    shown.is_told("[data-setting=retention]", retention)
    shown.is_told("[data-setting=overflow]", overflow)


def test_the_address_says_which_queue_is_chosen(make_queue, dashboard, tab):
    name = "b & c #1 é"
    server = dashboard([make_queue("a"), make_queue(name), make_queue("d")])
    shown = tab().open(server.url)
    shown.is_told("#chosen-title", "a")
    assert shown.page.url == server.url
    for chosen in (name, "d"):
        shown.page.locator("#queues tbody tr").filter(has_text=chosen).click()
        shown.is_told("#chosen-title", chosen)
    shown.page.go_back()
    shown.is_told("#chosen-title", name)
    shown.page.reload()
    shown.is_told("#chosen-title", name)
    again = tab().open(shown.page.url)
    again.is_told("#chosen-title", name)
    assert not [url for url in shown.requests if "%26" in url]  # it is not sent to any server


def test_the_address_keeps_the_queue_when_it_loses_the_token(make_queue, dashboard, tab):
    token = "a-token-of-the-tests"
    server = dashboard([make_queue("a"), make_queue("b")], token=token)
    shown = tab().open(f"{server.url}#token={token}&queue=b")
    shown.is_told("#chosen-title", "b")
    assert shown.page.url == f"{server.url}#queue=b"


def test_it_can_be_paused(make_queue, dashboard, tab):
    queue = make_queue("orders")
    server = dashboard(queue)
    shown = tab().open(server.url)
    shown.page.click("#pause")
    shown.is_told("#status", "paused")
    eventually(lambda: server._feed.viewers == 0)
    queue.enqueue_batch("abc")
    eventually(lambda: server._feed._samples[0].figures.queue.total_items == 3)
    assert shown.of(shown.page.locator("#queues tbody tr"), "items").inner_text() == "0"
    shown.page.get_by_role("button", name="Resume").click()
    shown.is_told("#status", "live")
    expect(shown.of(shown.page.locator("#queues tbody tr"), "items")).to_have_text("3")


# --- all screen sizes, screen readers, keyboards ----------------------------------------------------------------------


def test_a_small_screen_shows_figures(troubled, tab):
    shown = tab(viewport=PHONE).open(troubled.url)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(shown.page.locator("#queues thead")).to_be_hidden()
    row = shown.page.locator("#queues tbody tr").filter(has_text="missing messages")
    expect(shown.of(row, "missed")).to_have_text("1")
    for key in ("bytes", "items", "enqueued_rate", "delivered_rate", "lag", "missed"):
        box = shown.of(row, key).bounding_box()
        assert box is not None, key
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"], key
    label = shown.of(row, "missed").evaluate("cell => getComputedStyle(cell, '::before').content")
    assert label == '"Missed"'
    shown.page.select_option("#queue-sorter", "missed")
    assert names(shown)[0] == "missing messages"
    reader = shown.page.locator("#readers tbody tr").first
    assert shown.of(reader, "lag").bounding_box()["x"] < PHONE["width"]


def test_tables_have_names_and_charts_have_text_alternatives(make_queue, dashboard, tab):
    queue = make_queue("orders", max_bytes=1 << 20)
    queue.add_consumer("reader")
    queue.enqueue("a")
    shown = tab().open(dashboard(queue).url)
    expect(shown.page.get_by_role("grid", name="Queues")).to_be_visible()
    expect(shown.page.get_by_role("table", name="Consumers and groups")).to_be_visible()
    expect(shown.page.get_by_role("grid", name="Messages")).to_be_visible()
    expect(shown.page.get_by_role("columnheader", name="Dead letters").first).to_be_visible()
    assert shown.page.get_by_role("img").count() == 4
    memory = shown.page.get_by_role("img", name="Memory, last five minutes")
    expect(memory).to_have_attribute("aria-label", re.compile(r"held \d+ B now, from \d+ B to \d+ B; limit 1 MiB$"))


@pytest.fixture
def many(dashboard: Callable[..., Server]) -> tuple[Server, list[Queue[int]]]:
    queues = [Queue[int](f"queue {number}") for number in range(60)]
    queues[0].add_consumer("reader")
    queues[0].enqueue_batch(range(60))
    return dashboard(queues), queues


def focused(shown: Tab) -> str:
    return shown.page.evaluate("document.activeElement.closest('tr')?.querySelector('td.name span')?.textContent ?? ''")


def test_the_keyboard_reaches_everything_in_few_steps(many, tab):
    server, _queues = many
    shown = tab().open(server.url)
    expect(shown.page.locator("#messages tbody tr")).to_have_count(50)
    seen: list[str] = []
    for _ in range(3 * STOPS):
        shown.page.keyboard.press("Tab")
        place = shown.page.evaluate(
            "(() => {const e = document.activeElement; return e === document.body ? '' :"
            " (e.closest('table, section, header')?.id ?? '') + ' ' + e.tagName + ' ' + (e.id || e.dataset.sort || '')})()"
        )
        if not place or place in seen:
            break
        seen.append(place)
    assert 8 < len(seen) <= STOPS, seen
    for wanted in ("queues BUTTON name", "queues TR ", "readers BUTTON label", "messages TR "):
        assert wanted in seen


def test_arrow_keys_move_between_rows_and_enter_selects(many, tab):
    server, _queues = many
    shown = tab().open(server.url)
    shown.page.locator("#queues tbody tr").first.focus()
    for key, name in (("ArrowDown", "queue 1"), ("ArrowDown", "queue 2"), ("ArrowUp", "queue 1"), ("End", "queue 59"),
                      ("ArrowDown", "queue 59"), ("Home", "queue 0"), ("ArrowDown", "queue 1")):  # fmt: skip
        shown.page.keyboard.press(key)
        assert focused(shown) == name
    shown.page.keyboard.press("Enter")
    shown.is_told("#chosen-title", "queue 1")
    expect(shown.page.locator("#queues tr[aria-selected=true]")).to_have_count(1)
    shown.page.locator("#queues th.name button").focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Enter")
    assert shown.page.locator("#queues th.items").get_attribute("aria-sort") == "descending"


def test_a_row_keeps_the_focus_while_it_moves(many, tab):
    server, queues = many
    shown = tab().open(server.url)
    shown.page.click("#queues th.items button")
    shown.page.locator("#queues tbody tr").filter(has_text="queue 7").first.focus()
    assert focused(shown) == "queue 7"
    queues[7].enqueue_batch(range(100))
    expect(shown.page.locator("#queues tbody tr td.name").first).to_have_text("queue 7")
    assert focused(shown) == "queue 7"
    shown.page.keyboard.press("ArrowDown")
    assert focused(shown) == "queue 0"
