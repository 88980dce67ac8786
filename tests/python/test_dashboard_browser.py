"""The dashboard in a real browser: it shows live queues, safely."""

import re

import pytest

from browsing import FAST, expect
from harness import acking_group, eventually
from mpmc_queue import Queue
from mpmc_queue.dashboard import app
from mpmc_queue.dashboard._site import error
from test_dashboard_asgi import around, served

pytestmark = pytest.mark.thread_unsafe

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>&amp;"
MARKUP_TOPIC = "<img/src=x/onerror='document.title=0'&amp;<b"  # which holds no ">" and no space
TOKEN = "a-token-of-the-tests"


def test_it_shows_live_numbers(make_queue, dashboard, tab):
    queue = make_queue("orders", max_items=200)
    reader = queue.add_consumer("billing")
    server = dashboard(queue)
    shown = tab().open(server.url)
    expect(shown.cell("queues", "orders", "items")).to_have_text("0 of 200")
    queue.enqueue_batch(range(150))
    expect(shown.cell("queues", "orders", "items")).to_have_text("150 of 200")
    expect(shown.cell("readers", "billing", "unread")).to_have_text("150")
    expect(shown.cell("readers", "billing", "idle")).to_have_text("never read")
    reader.read_batch(30)
    expect(shown.cell("readers", "billing", "unread")).to_have_text("120")
    expect(shown.cell("readers", "billing", "read")).to_have_text("30")
    width = shown.page.locator("#queues .bar > div").evaluate("bar => bar.style.width")
    assert float(width.removesuffix("%")) == pytest.approx(queue.stats().memory_percent, abs=0.01)
    server.add(make_queue("invoices"))
    expect(shown.page.locator("#queues tbody tr")).to_have_count(2)


def test_readers_are_sorted_by_lag(make_queue, dashboard, tab):
    queue = make_queue()
    slow, middle, fast = (queue.add_consumer(name) for name in ("slow", "middle", "fast"))
    for n in range(3):
        queue.enqueue(n)
    middle.read()
    fast.read_batch(3)
    shown = tab().open(dashboard(queue).url)
    names = "#readers tbody td:first-child"
    assert shown.texts(names) == ["slow", "middle", "fast"]
    shown.page.click("#readers th button[data-sort=label]")
    assert shown.texts(names) == ["fast", "middle", "slow"]
    shown.page.click("#readers th button[data-sort=label]")
    assert shown.texts(names) == ["slow", "middle", "fast"]
    shown.page.click("#readers th button[data-sort=read]")
    assert shown.texts(names) == ["fast", "middle", "slow"]
    shown.page.fill("#reader-filter", "MID")
    assert shown.texts(names) == ["middle"]
    assert slow.unread_count == 3


def test_groups_show_what_is_pending(dashboard, tab):
    group = acking_group("a", "b", "c")
    member = group.add_consumer("one")
    member.read().nack()
    member.read()
    shown = tab().open(dashboard(group.queue).url)
    row = shown.page.locator("#readers tbody tr").first
    expect(row.locator("td").first).to_contain_text("ggroup")
    assert [shown.of(row, key).inner_text() for key in ("pending", "redelivered", "dead_lettered")] == ["1", "1", "0"]
    member = shown.page.locator("#readers tbody tr").nth(1)
    expect(member.locator("td").first).to_contain_text("in g")


def test_markup_shows_as_text(make_queue, dashboard, tab):
    class Markup:
        def __repr__(self) -> str:
            return MARKUP

    Markup.__qualname__ = MARKUP
    queue = make_queue(MARKUP)
    consumer = queue.add_consumer(MARKUP)
    member = queue.add_group(MARKUP + "group").add_consumer(MARKUP + "member")
    filtered = queue.add_consumer("filtered", topics=["<script/src=x.js&amp;", MARKUP_TOPIC])
    queue.enqueue(Markup(), topic=MARKUP_TOPIC)
    consumer.read()
    member.read()
    shown = tab().open(dashboard(queue, show_payloads=True).url)
    assert shown.page.locator("#queues td.name span").first.text_content() == MARKUP
    labels = shown.page.locator("#readers td.name:first-child > span:first-child").all_text_contents()
    assert set(labels) == {MARKUP, MARKUP + "group", MARKUP + "member", "filtered"}
    expect(shown.cell("readers", "filtered", "topics")).to_have_text(" ".join(filtered.topics))
    expect(shown.page.locator("#messages td.topic")).to_have_text(MARKUP_TOPIC)
    shown.page.click("#messages tbody tr")
    assert shown.page.locator("#messages td.payload").text_content() == MARKUP
    assert shown.page.locator("#messages td.type").text_content() == f"{__name__}.{MARKUP}"
    expect(shown.page.locator("#payload")).to_have_text(MARKUP)
    expect(shown.page.locator("#topic")).to_have_text(f"under {MARKUP_TOPIC}")
    expect(shown.page.locator("#trail li").nth(2)).to_contain_text(f"read by {MARKUP}member ({MARKUP}group)")
    assert shown.page.locator("main img, main script").count() == 0
    assert shown.page.title() == "mpmc_queue"


def test_topics_are_shown_if_there_are_any(make_queue, dashboard, tab):
    queue = make_queue()
    everything = queue.add_consumer("everything")
    queue.enqueue("a")
    shown = tab().open(dashboard(queue).url)
    expect(shown.page.locator("#messages tbody tr")).to_have_count(1)
    expect(shown.page.locator("#readers th.topics")).to_be_hidden()
    expect(shown.page.locator("#messages th.topic")).to_be_hidden()
    orders = queue.add_consumer("orders", topics=["orders.>", "alarms"])
    queue.enqueue("b", topic="orders.eu.new")
    orders.read()
    expect(shown.cell("readers", "orders", "topics")).to_have_text("orders.> alarms")
    expect(shown.cell("readers", "orders", "filtered")).to_have_text("1")
    expect(shown.cell("readers", "everything", "topics")).to_have_text("")
    expect(shown.page.locator("#messages td.topic")).to_have_text(["orders.eu.new", ""])
    shown.page.click("#messages tbody tr:nth-child(1)")
    shown.is_told("#topic", "under orders.eu.new")
    shown.page.click("#messages tbody tr:nth-child(2)")
    shown.is_told("#trail h3", "Audit trail of 0")
    expect(shown.page.locator("#topic")).to_be_hidden()
    assert everything.unread_count == 2


def test_messages_can_be_shown(make_queue, dashboard, tab):
    queue = make_queue()
    reader = queue.add_consumer("billing")
    queue.enqueue_batch([f"secret {n}" for n in range(120)])
    reader.read_batch(1)
    shown = tab().open(dashboard(queue).url)
    expect(shown.page.locator("#messages tbody tr")).to_have_count(50)
    assert shown.page.locator("#messages tbody td.number").first.text_content() == "119"
    assert "secret" not in shown.page.content()
    shown.page.click("#oldest")
    shown.is_told("#messages tbody td.number", "0")
    shown.page.click("#messages tbody tr")
    shown.is_told("#trail h3", "Audit trail of 0")
    expect(shown.page.locator("#payload")).to_be_hidden()
    shown.is_told("#trail li", re.compile("enqueued$"), 0)
    shown.is_told("#trail li", re.compile("read by billing$"), 1)
    shown.page.click("#newer")
    shown.is_told("#messages tbody td.number", "50")
    assert (len(queue), reader.unread_count) == (120, 119)


def test_it_survives_the_servers_restart(make_queue, dashboard, tab):
    first, second = make_queue("first"), make_queue("second")
    server = dashboard([first, second])
    shown = tab().open(server.url)
    shown.page.click("#queues tbody tr:nth-child(2)")
    server.close()
    shown.is_told("#status", "reconnecting")
    shown.is_told("#refusal", "The program does not answer. It may have ended. The page keeps trying.")
    second.enqueue_batch(range(7))
    again = dashboard([second, first], port=server.port)
    shown.is_told("#status", "live")
    expect(shown.page.locator("#refusal")).to_be_hidden()
    expect(shown.cell("queues", "second", "items")).to_have_text("7")
    expect(shown.page.locator("#queues tr[aria-selected=true] td").first).to_have_text("second")
    shown.is_told("#messages tbody td.number", "6")
    assert again.port == server.port
    assert all("net::ERR" in error for error in shown.errors)  # while the server was away
    shown.errors.clear()


def test_it_shows_why_it_is_refused(make_queue, dashboard, tab, monkeypatch):
    server = dashboard(make_queue())
    respond = server._http.site.respond

    def refuse(request):
        return error(503, "Close some pages.") if request.path.startswith("/api") else respond(request)

    monkeypatch.setattr(server._http.site, "respond", refuse)
    shown = tab().open(server.url, "reconnecting")
    shown.is_told("#refusal", "Close some pages.")
    monkeypatch.undo()
    shown.is_told("#status", "live")
    expect(shown.page.locator("#refusal")).to_be_hidden()
    shown.errors.clear()


def test_the_charts_show_the_last_minutes_at_once(make_queue, dashboard, tab):
    queue = make_queue()
    server = dashboard(queue)
    queue.enqueue_batch(range(100))
    eventually(lambda: len(server._feed.history(0)["points"]) > 20)  # type: ignore[arg-type]
    shown = tab().open(server.url)
    shown.is_told(".legend", re.compile(r"in [\d,.]+/sout [\d,.]+/s"))
    painted = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    for canvas in shown.page.locator("canvas").all():
        assert canvas.evaluate(painted)
    shown.is_told("figure:nth-child(2) .legend .line", re.compile("held [1-9]"))


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_the_charts_do_not_depend_on_the_browsers_clock(make_queue, dashboard, tab, skew):
    server = dashboard(make_queue(), interval=10)  # 30 points are five minutes; further points come late
    # The server's own first sample: two samples at once might be recorded in the opposite order.
    eventually(lambda: len(server._feed.history(0)["points"]) == 1)
    for _ in range(30):
        server._feed.sample()
    shown = tab()
    shown.page.add_init_script(f"const now = Date.now; Date.now = () => now() + {skew} * 1000;")
    shown.page.add_init_script(
        "window.paths = []; const {moveTo, lineTo} = CanvasRenderingContext2D.prototype;"
        "Object.assign(CanvasRenderingContext2D.prototype, {"
        "  moveTo(x, y) { window.paths.push([x]); moveTo.call(this, x, y); },"
        "  lineTo(x, y) { window.paths.at(-1).push(x); lineTo.call(this, x, y); }});"
    )
    shown.open(server.url)

    def longest() -> int:
        return shown.page.evaluate("Math.max(...paths.map(path => path.length))")

    eventually(lambda: longest() >= 30)
    before = longest()
    shown.page.evaluate("paths.length = 0")
    server._feed.sample()
    server._feed.send()
    eventually(lambda: longest() > before)
    # Lines run to the right. Only the last two steps, down to the axis and back, close the area below the line.
    lines = shown.page.evaluate("paths.map(path => path.slice(0, -2))")
    assert all(line == sorted(line) for line in lines)


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_is_light_and_dark(make_queue, dashboard, tab, scheme, is_dark):
    shown = tab(color_scheme=scheme).open(dashboard(make_queue()).url)
    colours = shown.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    ground, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    assert (ground < text) == is_dark
    assert abs(ground - text) > 400  # out of 765


def test_it_sends_no_requests_to_other_servers(make_queue, dashboard, tab):
    server = dashboard(make_queue())
    shown = tab().open(server.url)
    assert shown.requests
    assert all(url.startswith(server.url) for url in shown.requests)


def test_a_hidden_tab_sends_no_requests(make_queue, dashboard, tab):
    server = dashboard(make_queue())
    shown = tab().open(server.url)
    hide = "(hidden) => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange'));}"
    shown.page.evaluate(hide, True)
    shown.is_told("#status", "paused")
    eventually(lambda: server._feed.viewers == 0)
    shown.page.evaluate(hide, False)
    shown.is_told("#status", "live")


def test_the_token_is_asked_for(make_queue, dashboard, tab):
    server = dashboard(make_queue("orders"), token=TOKEN)
    shown = tab().open(server.url, "waiting for a token")
    assert shown.page.locator("main").is_hidden()
    for wrong in ("not-the-token-of-the-tests", "kein Token — sondern Text"):  # the second one cannot be a header value
        shown.page.fill("#token", wrong)
        shown.page.press("#token", "Enter")
        expect(shown.page.locator("#login")).to_be_visible()
        shown.is_told("#login-error", "That is not the token.")
    shown.page.fill("#token", TOKEN)
    shown.page.press("#token", "Enter")
    shown.is_told("#status", "live")
    shown.is_told("#queues td.name", "orders")
    shown.page.reload()
    shown.is_told("#status", "live")
    assert not [url for url in shown.requests if TOKEN in url]
    assert all("401" in error for error in shown.errors)
    shown.errors.clear()


def test_the_token_is_taken_from_the_address_and_removed_there(make_queue, dashboard, tab):
    server = dashboard(make_queue(), token=TOKEN)
    shown = tab().open(server.login_url)
    assert shown.page.url == server.url
    shown.is_told("#messages-title", "Messages")


def test_it_works_mounted_in_an_application(make_queue, tab):
    queue = make_queue("orders")
    with served(around(app(queue, interval=FAST))) as address:
        shown = tab().open(f"{address}ops/queues")
        queue.enqueue_batch("abc")
        expect(shown.cell("queues", "orders", "items")).to_have_text("3")
        shown.page.close()


def test_a_hundred_queues_and_a_thousand_consumers_stay_usable(dashboard, tab):
    queues = [Queue[int](f"queue {number}") for number in range(100)]
    for queue in queues:
        for number in range(10):
            queue.add_consumer(f"{queue.name} consumer {number}")
        queue.enqueue_batch(range(100))
    shown = tab()
    shown.page.add_init_script(
        "window.longest = 0; new PerformanceObserver(list => {for (const task of list.getEntries())"
        " window.longest = Math.max(window.longest, task.duration)}).observe({type: 'longtask', buffered: true})"
    )
    shown.open(dashboard(queues, interval=0.5).url)
    expect(shown.page.locator("#queues tbody tr")).to_have_count(100)
    shown.page.check("#every-queue")
    expect(shown.page.locator("#readers tbody tr")).to_have_count(100)
    shown.is_told("#readers-count", "100 of 1,000")
    shown.page.click("#show-all")
    expect(shown.page.locator("#readers tbody tr")).to_have_count(1000)
    for queue in queues[:3]:  # and the page continues
        queue.enqueue_batch(range(23))
        expect(shown.of(shown.page.locator("#queues tbody tr").nth(queues.index(queue)), "items")).to_have_text("123")
    shown.page.fill("#reader-filter", "queue 42 consumer 7")
    shown.is_told("#readers tbody td", "queue 42 consumer 7")
    shown.page.fill("#queue-filter", "queue 99")
    shown.page.click("#queues tbody tr")
    expect(shown.page.locator("#queues tbody tr")).to_have_count(1)
    longest = shown.page.evaluate("longest")
    print(f"longest task: {longest} ms")
    assert longest < 2000  # milliseconds without an answer, on a machine with much other load
