"""For the reference: docstrings are plain text, for `help()` and editors; here they become Markdown, with links."""

import re
from collections.abc import Iterator
from typing import Any

import griffe

ARGUMENT = re.compile(r"^(\w+(?:, \w+)*) {2,}(\S.*)$")
# `Queue.enqueue`, `enqueue`, MemoryLimitError, `MemoryLimitError`; and other code, which stays as it is
NAME = re.compile(r"`(?:([A-Z]\w+)\.)?([a-z]\w+)`|(?:`(?=\w+`))?\b([A-Z]\w+Error)\b`?|`[^`]*`")


class PlainDocstrings(griffe.Extension):
    """Fences around the examples, a list of the arguments, and links to what is named."""

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """What is made by `__new__` has its signature shown as well."""
        if "__new__" in cls.members:
            cls.members["__init__"] = cls.members["__new__"]

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Everything is loaded now, so it is known which names there are."""
        for obj in objects(pkg):
            if obj.docstring is not None:
                links = Links(obj)
                paragraphs = obj.docstring.value.split("\n\n")
                obj.docstring.value = "\n\n".join(markdown(paragraph, links) for paragraph in paragraphs)


def objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    """An object and all below it, each once."""
    yield obj
    for name, member in obj.members.items():
        if isinstance(member, griffe.Object) and (name != "__init__" or "__new__" not in obj.members):
            yield from objects(member)


class Links:
    """The links of one docstring."""

    def __init__(self, obj: griffe.Object) -> None:
        self._obj = obj
        self._class = obj if obj.is_class else obj.parent if obj.parent is not None and obj.parent.is_class else None
        # An argument has the name of a method now and then (`limit`): then the argument is meant.
        self._arguments = {each.name for each in getattr(obj, "parameters", ())}
        if obj.is_class:
            made = obj.members.get("__init__")
            self._arguments |= {each.name for each in getattr(made, "parameters", ())}

    def put(self, text: str) -> str:
        return NAME.sub(self._link, text)

    def _link(self, found: re.Match[str]) -> str:
        owner, name, error = found.groups()
        target = self._error(error) if error else self._member(owner, name) if name else None
        return f"[{found[0]}][{target}]" if target else found[0]

    def _error(self, name: str) -> str | None:
        return f"mpmc_queue.{name}" if name != self._obj.name and name in self._obj.package.members else None

    def _modules(self) -> Iterator[griffe.Object]:
        """The module of the object, and those above it: `Queue` is that of the nearest."""
        module: griffe.Object | None = self._obj if self._obj.is_module else self._obj.module
        while module is not None:
            yield module
            module = module.parent

    def _member(self, owner: str | None, name: str) -> str | None:
        if owner is not None:
            cls = next((place.members[owner] for place in self._modules() if owner in place.members), None)
        else:
            cls = None if name in self._arguments else self._class
        member = None if cls is None else cls.members.get(name)
        if member is None or member is self._obj or member.docstring is None:
            return None
        return member.canonical_path


def markdown(paragraph: str, links: Links) -> str:
    if paragraph.startswith(">>> "):
        return f"```pycon\n{paragraph}\n```"
    if ARGUMENT.match(paragraph.partition("\n")[0]):
        return arguments(paragraph, links)
    return links.put(paragraph)


def arguments(paragraph: str, links: Links) -> str:
    """`name      what it means, which may go on` in the next line, indented; also `name, name`."""
    items: list[str] = []
    for line in paragraph.splitlines():
        if found := ARGUMENT.match(line):
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            items.append(f"- {names}: {links.put(found[2])}")
        else:
            items[-1] += f" {links.put(line.strip())}"
    return "\n".join(items)
