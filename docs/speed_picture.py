"""Draws `images/speed.svg` from the table in `performance.md`: python docs/speed_picture.py"""

import re
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PICTURE: Final = HERE / "images" / "speed.svg"
OURS: Final = "mpmc-queue"
# Each panel has its own scale. A line is its label, and the first cell of the rows of the table that it shows.
PANELS: Final = (
    (
        "Every consumer reads every message: ns per delivery",
        (
            ("1 consumer", "a delivery, fan-out to 1"),
            ("4 consumers", "a delivery, fan-out to 4"),
            ("16 consumers", "a delivery, fan-out to 16"),
        ),
    ),
    (
        "One call: ns per message",
        (
            ("put one", "`enqueue`"),
            ("get one", "`get_nowait`"),
            ("put 1000 at once", "`enqueue_batch` of 1000"),
            ("get 1000 at once", "`get_batch` of 1000"),
        ),
    ),
    (
        "From a thread to asyncio: ns per message",
        (("async for", "`async for`, from another thread"),),
    ),
)
# Colours in the light, and what they become where the page is dark.
DARK: Final = {
    "#f5f7f8": "#1b2126",
    "#263238": "#e6edf1",
    "#546e7a": "#a9bac3",
    "#00897b": "#4db6ac",
    "#b0bec5": "#607d8b",
}


def table() -> dict[str, list[tuple[str, int, int]]]:
    """By the first cell: (peer, our nanoseconds, its nanoseconds)."""
    text = (
        (HERE / "performance.md").read_text(encoding="utf-8").partition("## On CPython 3.11")[2].partition("\n## ")[0]
    )
    rows: dict[str, list[tuple[str, int, int]]] = {}
    for what, ours, peer, theirs in re.findall(r"^\| ([^|]+) \| (\d+) \| ([^|]+) \| (\d+) \|", text, re.MULTILINE):
        rows.setdefault(what, []).append((peer.replace("`", ""), int(ours), int(theirs)))
    return rows


def picture() -> str:
    rows = table()
    parts: list[str] = []
    top = 24

    def text(x: int, y: int, words: str, color: str = "#263238", more: str = "") -> None:
        parts.append(f'<text x="{x}" y="{y}" fill="{color}"{more}>{words}</text>')

    for title, lines in PANELS:
        top += 14
        text(30, top, title, more=' font-weight="bold"')
        top += 14
        most = max(max(ours, theirs) for _, name in lines for _, ours, theirs in rows[name])
        for label, name in lines:
            bars = [(OURS, rows[name][0][1], "#00897b")] + [(peer, theirs, "#b0bec5") for peer, _, theirs in rows[name]]
            text(30, top + 14, label, "#546e7a")
            for who, value, color in bars:
                width = max(3, round(380 * value / most))
                parts.append(f'<rect x="170" y="{top}" width="{width}" height="18" fill="{color}"/>')
                text(178 + width, top + 14, f"{value:,} {who}", more=' font-size="13"')
                top += 20
            top += 8
    text(
        30, top + 12, "Less is better. CPython 3.11, one machine, minimum of many rounds.", "#546e7a", ' font-size="12"'
    )
    height = top + 28
    dark = "".join(f'[fill="{light}"]{{fill:{dark}}}' for light, dark in DARK.items())
    title = "Nanoseconds per message, beside the queues that one would use instead"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" role="img" '
            f'aria-label="{title}" font-family="system-ui, sans-serif" font-size="14">',
            f"<title>{title}</title>",
            f"<style>@media (prefers-color-scheme: dark){{{dark}}}</style>",
            f'<rect width="760" height="{height}" rx="10" fill="#f5f7f8"/>',
            *parts,
            "</svg>",
            "",
        )
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
