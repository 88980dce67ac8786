"""For the reference: docstrings are plain text, for `help()` and editors; here they become Markdown."""

import re
from typing import Any

import griffe

ARGUMENT = re.compile(r"^(\w+(?:, \w+)*) {2,}(\S.*)$")


class PlainDocstrings(griffe.Extension):
    """Fences around the examples, and a list of the arguments."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """What is made by `__new__` has its signature shown as well."""
        if "__new__" in cls.members:
            cls.members["__init__"] = cls.members["__new__"]

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(map(markdown, paragraphs))


def markdown(paragraph: str) -> str:
    if paragraph.startswith(">>> "):
        return f"```pycon\n{paragraph}\n```"
    if ARGUMENT.match(paragraph.partition("\n")[0]):
        return arguments(paragraph)
    return paragraph


def arguments(paragraph: str) -> str:
    """`name      what it means, which may go on` in the next line, indented; also `name, name`."""
    items: list[str] = []
    for line in paragraph.splitlines():
        if found := ARGUMENT.match(line):
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            items.append(f"- {names}: {found[2]}")
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(items)
