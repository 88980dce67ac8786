"""How large payloads of common libraries are: their memory, and the result of `estimate_size`.

Run by `make payload-sizes`. Each payload is created many times in a separate process. Its memory is the growth of the
process.
"""

import argparse
import gc
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from mpmc_queue import estimate_size, register_sizer

ENOUGH: Final = 100_000_000
"""Bytes that the copies of a payload come to, about: what the process takes besides does not matter then."""


class Case(NamedTuple):
    """A payload of a library."""

    library: str
    name: str
    make: Callable[[int], Any]
    """Makes one, given its number."""
    size: int
    """About how many bytes it takes: how many copies are made goes by this."""
    sizer: tuple[Callable[[], Any], Callable[[Any], int]] | None = None
    """The class and the sizer to register, where the estimate cannot see the memory."""


def module(name: str) -> Any:
    """A library that may not be installed and is not type-checked."""
    return importlib.import_module(name)


def text(number: int) -> str:
    return f"the text of row {number}"


def frame(number: int) -> Any:
    numpy = module("numpy")
    pandas = module("pandas")

    return pandas.DataFrame(numpy.random.default_rng(number).random((10_000, 5)), columns=list("abcde"))


def frame_of_text(number: int) -> Any:
    pandas = module("pandas")

    return pandas.DataFrame({"key": range(10_000), "text": [text(number + row) for row in range(10_000)]})


def frame_of_objects(number: int) -> Any:
    pandas = module("pandas")

    column = pandas.Series([text(number + row) for row in range(10_000)], dtype=object)
    return pandas.DataFrame({"key": range(10_000), "text": column})


def multi_index(number: int) -> Any:
    pandas = module("pandas")

    return pandas.MultiIndex.from_product([range(number, number + 100), range(200)])


def categorical(number: int) -> Any:
    pandas = module("pandas")

    return pandas.Categorical([f"kind {row % 7}" for row in range(50_000)])


def table(number: int) -> Any:
    numpy = module("numpy")
    pyarrow = module("pyarrow")

    return pyarrow.table(
        {"a": numpy.random.default_rng(number).random(50_000), "b": list(range(number, number + 50_000))}
    )


def image(number: int) -> Any:
    Image = module("PIL.Image")

    return Image.new("RGB", (640, 480), (number % 256, 0, 0))


def image_class() -> Any:
    Image = module("PIL.Image")

    return Image.Image


def pixels(image: Any) -> int:
    return int(image.width) * int(image.height) * (1 if image.mode in ("1", "L", "P") else 4)


def array(number: int) -> Any:
    numpy = module("numpy")

    return numpy.random.default_rng(number).random(20_000)


def rows(number: int) -> Any:
    return array(number).reshape(200, 100)[5]


def model_class() -> Any:
    pydantic = module("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        id: int
        customer: str
        total: float
        lines: list[str]

    return Order


def attrs_class() -> Any:
    attrs = module("attrs")

    @attrs.define
    class Order:
        id: int
        customer: str
        total: float
        lines: list[str]

    return Order


def struct_class() -> Any:
    msgspec = module("msgspec")

    return msgspec.defstruct("Order", [("id", int), ("customer", str), ("total", float), ("lines", list)])


def order(make_class: Callable[[], Any]) -> Callable[[int], Any]:
    made: list[Any] = []

    def make(number: int) -> Any:
        if not made:
            made.append(make_class())
        lines = [text(number), text(number + 1)]
        return made[0](id=10**7 + number, customer=text(number), total=number + 0.5, lines=lines)

    return make


def raw(number: int) -> Any:
    msgspec = module("msgspec")

    return msgspec.Raw(text(number).encode() * 100)


def raw_class() -> Any:
    msgspec = module("msgspec")

    return msgspec.Raw


def struct_message(number: int) -> Any:
    struct_pb2 = module("google.protobuf.struct_pb2")

    message = struct_pb2.Struct()
    message.update({text(number + field): float(field) for field in range(20)})
    return message


def message_class() -> Any:
    struct_pb2 = module("google.protobuf.struct_pb2")

    return struct_pb2.Struct


CASES: Final = [
    Case("numpy", "array of 20,000 floats", array, 160_000),
    Case("numpy", "a row of a table of 20,000 floats", rows, 160_000),
    Case("pandas", "DataFrame, 10,000 x 5 floats", frame, 400_000),
    Case("pandas", "DataFrame, 10,000 ints and strings (`str`)", frame_of_text, 600_000),
    Case("pandas", "DataFrame, 10,000 ints and strings (`object`)", frame_of_objects, 1_000_000),
    Case("pandas", "MultiIndex, 100 x 200", multi_index, 100_000),
    Case("pandas", "Categorical, 50,000 of 7", categorical, 60_000),
    Case("pyarrow", "Table, 50,000 x 2", table, 800_000),
    Case("pillow", "Image, 640 x 480, RGB", image, 1_200_000, (image_class, pixels)),
    Case("pydantic", "model with 4 fields", order(model_class), 1_000),
    Case("attrs", "class with 4 fields", order(attrs_class), 500),
    Case("msgspec", "Struct with 4 fields", order(struct_class), 500),
    Case("msgspec", "Raw, 2,100 bytes", raw, 2_200, (raw_class, lambda raw: 64 + memoryview(raw).nbytes)),
    Case(
        "protobuf", "Struct with 20 fields", struct_message, 4_000,
        (message_class, lambda message: 8 * int(message.ByteSize())),
    ),
]  # fmt: skip
MODULES: Final = {"pillow": "PIL", "protobuf": "google.protobuf"}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(case: Case) -> tuple[float, float, float]:
    """Bytes of one payload: in memory, as estimated, and with its sizer."""
    for number in range(3):
        estimate_size(case.make(number))
    copies = max(20, ENOUGH // case.size)
    kept = [None] * copies
    gc.collect()
    before = resident()
    for number in range(copies):
        kept[number] = case.make(number)
    gc.collect()
    memory = (resident() - before) / copies
    estimate = sum(map(estimate_size, kept)) / copies
    if case.sizer is None:
        return memory, estimate, estimate
    cls, sizer = case.sizer
    register_sizer(cls(), sizer)
    return memory, estimate, sum(map(estimate_size, kept)) / copies


def is_installed(case: Case) -> bool:
    try:
        return importlib.util.find_spec(MODULES.get(case.library, case.library)) is not None
    except ModuleNotFoundError:
        return False


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, metavar="NUMBER", help=argparse.SUPPRESS)
    only = parser.parse_args().only
    if only is not None:
        print(*measure(CASES[only]))
        return 0
    print(f"{'payload':<60} {'memory':>12} {'estimate':>12} {'ratio':>6} {'with sizer':>11}")
    for number, case in enumerate(CASES):
        if not is_installed(case):
            print(f"{case.library} is not installed: left out.")
            continue
        command = [sys.executable, __file__, "--only", str(number)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        memory, estimate, sized = map(float, output.split())
        with_sizer = "" if case.sizer is None else f"{sized / memory:.2f}"
        name = f"{case.library}: {case.name}"
        print(f"{name:<60} {memory:>12,.0f} {estimate:>12,.0f} {estimate / memory:>6.2f} {with_sizer:>11}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
