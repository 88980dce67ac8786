"""A real browser for the tests of the dashboard: Debian's Chromium, or the one of playwright, without a window."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

FAST = 0.1  # seconds between samples
WAIT = 20_000  # milliseconds


def driver() -> Any:
    return pytest.importorskip("playwright.sync_api", reason="playwright is not installed (dependency group browser)")


def expect(locator: Any) -> Any:
    return driver().expect(locator)


@contextmanager
def launched() -> Iterator[Any]:
    """The browser. A test is skipped if there is none."""
    with driver().sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(filter(None, map(shutil.which, names)), None) or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("there is no browser: Debian has it as chromium, playwright as `playwright install chromium`")
        # Chromium does not run as root with its own sandbox.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Tab:
    """A page, and its errors."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url: str, status: str = "live") -> Self:
        self.page.goto(url)
        self.is_told("#status", status)
        return self

    def is_told(self, selector: str, text: str | re.Pattern[str], index: int = 0) -> None:
        """Waits until the element shows this text."""
        expect(self.page.locator(selector).nth(index)).to_have_text(text, timeout=WAIT)

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def cell(self, table: str, name: str, column: str) -> Any:
        """A cell of the row with this name."""
        return self.of(self.page.locator(f"#{table} tbody tr").filter(has_text=name), column)

    def of(self, row: Any, column: str) -> Any:
        """A cell of this row."""
        return row.locator(f"td[data-key={column}]")
