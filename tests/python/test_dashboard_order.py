"""The dashboard shows which reader follows which (`after=`): in its samples, as a drawing, and in words."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from browsing import Tab, expect
from dashboards import first, snapshots, until
from harness import eventually
from mpmc_queue import Consumer, Queue
from mpmc_queue.dashboard import _feed

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def make_diamond(make_queue: Any) -> Callable[[], tuple[Queue[Any], dict[str, Consumer[Any]]]]:
    """b and c follow a, and d follows both."""

    def make() -> tuple[Queue[Any], dict[str, Consumer[Any]]]:
        queue = make_queue()
        a = queue.add_consumer("a")
        b, c = queue.add_consumer("b", after=[a]), queue.add_consumer("c", after=[a])
        d = queue.add_consumer("d", after=[b, c])
        return queue, {"a": a, "b": b, "c": c, "d": d}

    return make


def words(shown: Tab, text: str) -> None:
    """Waits until the drawing has this text alternative."""
    expect(shown.page.get_by_role("img", name="Order of reading")).to_have_attribute(
        "aria-label", f"Order of reading: {text}"
    )


def boxes(shown: Tab) -> dict[str, dict[str, float]]:
    """Where the readers are in the drawing, by name."""
    nodes = shown.page.locator("#order .node").all()
    return {node.locator("tspan").first.text_content(): node.locator("rect").bounding_box() for node in nodes}


# --- samples ----------------------------------------------------------------------------------------------------------


def test_a_sample_tells_whom_a_reader_follows(make_diamond, dashboard):
    queue, readers = make_diamond()
    group = queue.add_group("workers", after=[readers["a"]])
    group.add_consumer("one")
    queue.add_consumer("last", after=[group, readers["d"]])
    with snapshots(dashboard(queue)) as stream:
        snapshot = until(stream, lambda snapshot: len(snapshot["readers"]) == 7)
        told = {reader["name"]: reader for reader in snapshot["readers"]}
        ids = {name: reader["id"] for name, reader in told.items()}
        after = {name: set(reader["after"]) for name, reader in told.items()}
        assert after == {
            "a": set(), "b": {ids["a"]}, "c": {ids["a"]}, "d": {ids["b"], ids["c"]}, "workers": {ids["a"]}, "one": set(),
            "last": {ids["workers"], ids["d"]},
        }  # fmt: skip
        assert {name: reader["members"] for name, reader in told.items() if reader["members"] is not None} == {
            "workers": 1
        }
        group.close()
        snapshot = until(stream, lambda snapshot: len(snapshot["readers"]) == 5)
    (last,) = [reader for reader in snapshot["readers"] if reader["name"] == "last"]
    assert last["after"] == [ids["d"]]


def test_groups_of_the_same_name_in_two_queues_are_two(make_queue, dashboard):
    queues = [make_queue("x"), make_queue("y")]
    groups = [queue.add_group("workers") for queue in queues]
    queues[1].add_consumer("last", after=[groups[1]])
    (last,) = [reader for reader in first(dashboard(queues))["readers"] if reader["name"] == "last"]
    assert last["after"] == ["1/workers"]


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.thread_unsafe
def test_a_diamond_is_drawn_from_left_to_right_and_told_in_words(make_diamond, dashboard, tab):
    shown = tab().open(dashboard(make_diamond()[0]).url)
    words(shown, "a → b, c; b → d; c → d")
    expect(shown.page.locator("#order .edge")).to_have_count(4)
    expect(shown.page.locator("#order ul")).to_be_hidden()
    place = boxes(shown)
    assert place.keys() == {"a", "b", "c", "d"}
    for name, follower in ("ab", "ac", "bd", "cd"):
        assert place[name]["x"] + place[name]["width"] < place[follower]["x"]
    assert place["b"]["x"] == place["c"]["x"]
    assert place["b"]["y"] + place["b"]["height"] < place["c"]["y"]
    assert place["a"]["y"] == place["d"]["y"]


@pytest.mark.thread_unsafe
def test_nothing_is_drawn_without_an_order(make_queue, make_diamond, dashboard, tab):
    plain = make_queue("plain")
    plain.add_consumer("reader")
    shown = tab().open(dashboard([plain, make_diamond()[0]]).url)
    expect(shown.page.locator("#readers tbody tr")).to_have_count(1)
    expect(shown.page.locator("#order")).to_be_hidden()
    shown.page.locator("#queues tbody tr").nth(1).click()
    expect(shown.page.locator("#order")).to_be_visible()
    shown.page.check("#every-queue")  # it is one queue's
    expect(shown.page.locator("#order")).to_be_hidden()
    shown.page.uncheck("#every-queue")
    words(shown, "a → b, c; b → d; c → d")


@pytest.mark.thread_unsafe
def test_the_drawing_is_made_anew_when_a_reader_leaves_or_comes(make_diamond, dashboard, tab):
    queue, readers = make_diamond()
    shown = tab().open(dashboard(queue).url)
    words(shown, "a → b, c; b → d; c → d")
    readers["b"].close()
    words(shown, "a → c; c → d")
    assert boxes(shown).keys() == {"a", "c", "d"}
    queue.add_consumer("e", after=[readers["d"]])
    words(shown, "a → c; c → d; d → e")
    for name in "acd":
        readers[name].close()
    expect(shown.page.locator("#order")).to_be_hidden()


@pytest.mark.thread_unsafe
def test_groups_are_marked_and_the_unnamed_have_an_id(make_queue, dashboard, tab):
    queue = make_queue()
    unnamed = queue.add_consumer()
    group = queue.add_group("workers", after=[unnamed])
    for _ in range(2):
        group.add_consumer()
    queue.add_consumer("workers", after=[group, unnamed])  # a consumer may have the name of a group
    shown = tab().open(dashboard(queue).url)
    name = f"unnamed {str(unnamed.id)[:8]}"
    words(shown, f"{name} → workers (group of 2), workers; workers (group of 2) → workers")
    expect(shown.page.locator("#order .node")).to_have_count(3)
    expect(shown.page.locator("#order .group")).to_have_text(["workersgroup of 2workers, group of 2"])
    group.add_consumer()
    words(shown, f"{name} → workers (group of 3), workers; workers (group of 3) → workers")


@pytest.mark.thread_unsafe
def test_an_edge_does_not_run_through_the_readers_that_it_passes(make_queue, dashboard, tab):
    queue = make_queue()
    chain = [queue.add_consumer("0")]
    for number in range(1, 5):
        chain.append(queue.add_consumer(str(number), after=chain))
    shown = tab().open(dashboard(queue).url)
    expect(shown.page.locator("#order .edge")).to_have_count(10)
    crossed = shown.page.evaluate(
        """() => [...document.querySelectorAll("#order .edge")].filter(edge => {
            const ends = [0, edge.getTotalLength()].map(at => edge.getPointAtLength(at).x);
            const between = [...document.querySelectorAll("#order rect")].map(rect => rect.getBBox())
              .filter(box => box.x > ends[0] && box.x + box.width < ends[1]);
            return Array.from({length: 200}, (_, at) => edge.getPointAtLength(edge.getTotalLength() * at / 200))
              .some(({x, y}) => between.some(box => x > box.x && x < box.x + box.width && y > box.y && y < box.y + box.height));
          }).length"""
    )
    assert crossed == 0
    place = boxes(shown)
    for left, right in pairwise("01234"):
        assert place[left]["x"] + place[left]["width"] < place[right]["x"]


@pytest.mark.thread_unsafe
def test_more_than_thirty_readers_are_listed_instead(make_queue, dashboard, tab):
    queue = make_queue()
    source = queue.add_consumer("source")
    for number in range(29):
        queue.add_consumer(f"follower {number}", after=[source])
    shown = tab().open(dashboard(queue).url)
    expect(shown.page.locator("#order .node")).to_have_count(30)
    assert shown.page.locator("#order > div").get_attribute("tabindex") == "0"
    queue.add_consumer("one more", after=[source])
    expect(shown.page.locator("#order ul")).to_be_visible()
    expect(shown.page.locator("#order svg")).to_have_count(0)
    expected = ", ".join([*(f"follower {number}" for number in range(29)), "one more"])
    expect(shown.page.locator("#order li")).to_have_text([f"source → {expected}"])


@pytest.mark.thread_unsafe
def test_a_telephone_scrolls_a_wide_drawing_and_keeps_the_page(make_queue, dashboard, tab):
    queue = make_queue()
    last = queue.add_consumer("the first of a number of readers")
    for number in range(5):
        last = queue.add_consumer(f"reader {number} of a chain", after=[last])
    shown = tab(viewport=PHONE).open(dashboard(queue).url)
    box = shown.page.locator("#order > div")
    expect(box).to_have_attribute("tabindex", "0")
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    box.focus()
    shown.page.keyboard.press("ArrowRight")
    eventually(lambda: box.evaluate("box => box.scrollLeft") > 0)


@pytest.mark.thread_unsafe
def test_names_are_put_in_as_text_and_cut_short(make_queue, dashboard, tab):
    markup = "<script>document.title='owned'</script>" * 3
    queue = make_queue()
    queue.add_consumer("x", after=[queue.add_consumer(markup)])
    shown = tab().open(dashboard(queue).url)
    words(shown, f"{markup} → x")
    node = shown.page.locator("#order .node").filter(has_text="script").first
    assert node.locator("title").text_content() == markup
    assert node.locator("tspan").text_content().endswith("…")
    assert boxes(shown)["x"]["width"] < node.locator("rect").bounding_box()["width"] < 220
    assert shown.page.title() == "mpmc_queue"


@pytest.mark.thread_unsafe
def test_predecessors_that_a_snapshot_leaves_out_have_their_id_or_group_name(make_queue, dashboard, tab, monkeypatch):
    monkeypatch.setattr(_feed, "MOST_READERS", 1)
    queue = make_queue()
    first_one, group = queue.add_consumer("first"), queue.add_group("workers")
    last = queue.add_consumer("last", after=[first_one, group])
    queue.enqueue("a")
    first_one.read()
    group.add_consumer().read()
    shown = tab().open(dashboard(queue).url)
    words(shown, f"consumer {str(first_one.id)[:8]} → last; workers (group) → last")
    assert last.unread_count == 1
