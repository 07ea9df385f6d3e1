"""Reading pickles without running them.

A pickle is a program for a small machine that can call whatever it names. This is that machine without the
dangerous half: it makes numbers, text, lists, tuples, dicts and NumPy arrays of numbers, and what a pickle
names beyond those is refused before anything is imported. Arrays are checked by us, since NumPy trusts the
sizes that it is told. Long byte strings stay in the file, so a list of images needs the memory of a list.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from metabench.data.pickled_values import KNOWN, Call, Dtype, LazyBytes, PickledArray, PickledBytes
from metabench.errors import MetabenchError

MOST_STEPS = 4_000_000
"""Steps of the machine, each of which makes at most one small object: what bounds the memory."""
_SHORT = 4096
_MOST_DIGITS = 40
_REMEDY = "get the official file again"
_DAMAGE = (IndexError, KeyError, TypeError, ValueError, struct.error, OSError, OverflowError, MemoryError)


def read_pickle(stream: BinaryIO, name: object, most_steps: int = MOST_STEPS) -> Any:
    """Return what a pickle of protocol 0 to 5 holds.

    Args:
        stream: seekable, and left open: the `LazyBytes` and `PickledArray` in the result read from it later.
        name: of the file, for messages.
        most_steps: how long the program may be.

    Returns:
        None, bool, int, float, str, bytes (`LazyBytes` where long), `PickledArray`, and lists, tuples and dicts of
        these; keys are text, bytes or numbers. Byte strings of Python 2 are text, each byte a character.

    Raises:
        MetabenchError: it is cut short, is no pickle, or holds something else; nothing of it was executed.
    """
    try:
        return _Machine(stream, most_steps).run()
    except _Refused as refusal:
        raise MetabenchError(f"{name}: holds {refusal}; nothing of it was run; {_REMEDY}") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MetabenchError(f"{name}: not a readable pickle ({reason}); {_REMEDY}") from error


@contextmanager
def open_pickle(path: Path, most_steps: int = MOST_STEPS) -> Iterator[Any]:
    """Give what the pickle at `path` holds, see `read_pickle`; the file is open meanwhile."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise MetabenchError(f"{path}: cannot be read ({error.strerror or error})") from error
    with stream:
        yield read_pickle(stream, path, most_steps)


class _Refused(Exception):
    """The pickle holds what no dataset needs."""


class _Stop(Exception):
    """The program has ended."""


class _Machine:
    """The stack, the marks on it, and the memo of one program."""

    def __init__(self, stream: BinaryIO, most_steps: int) -> None:
        self.stream, self.most_steps = stream, most_steps
        self.end = stream.seek(0, 2)
        stream.seek(0)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Execute the program and return the one value that it leaves."""
        read = self.stream.read
        try:
            for _ in range(self.most_steps):
                code = read(1)
                step = _STEPS.get(code)
                if step is None:
                    raise _Refused(f"the instruction {code!r}") if code else ValueError("it is cut short")
                step(self)
        except _Stop:
            value = self.stack.pop()
            if self.stack or self.marks or isinstance(value, (Call, Dtype)):
                raise ValueError("it leaves something other than one value") from None
            return value
        raise _Refused(f"more than {self.most_steps} steps")

    def take(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        if not 0 <= count <= self.end - self.stream.tell():
            raise ValueError("it is cut short")
        return self.stream.read(count)

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        text = self.stream.readline()
        if not text.endswith(b"\n"):
            raise ValueError("it is cut short")
        return text[:-1].decode("latin-1")

    def digits(self, text: str | None = None) -> int:
        text = self.line() if text is None else text
        if len(text) > _MOST_DIGITS:
            raise _Refused("an absurdly large number")
        return int(text.removesuffix("L"))

    def whole(self) -> int | bool:
        text = self.line()
        return {"00": False, "01": True}[text] if text in ("00", "01") else self.digits(text)

    def string(self, length: int) -> PickledBytes:
        """Read a byte string, or where it is long, only where it is."""
        if length <= _SHORT:
            return self.take(length)
        offset = self.stream.tell()
        if length > self.end - offset:
            raise ValueError("it is cut short")
        self.stream.seek(length, 1)
        return LazyBytes(self.stream, offset, length)

    def marked(self) -> list[Any]:
        """Take what stands above the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        if len(self.stack) < mark:
            raise ValueError("a mark without a stack")
        del self.stack[mark:]
        return items

    def name(self, module: Any, name: Any) -> Call:
        known = KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise _Refused(f"{f'{module}.{name}'[:80]!r}, which is code and not data")
        return known

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Call) or not isinstance(arguments, tuple):
            raise _Refused("a call of what is no function")
        self.stack.append(function.make(*arguments))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (PickledArray, Dtype)):
            raise _Refused("the state of an object that is no array")
        self.stack[-1].build(state)

    def fill_list(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _Refused("an object that is neither a list nor a dict")
        self.stack[-1].extend(items)

    def fill_dict(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or len(items) % 2:
            raise _Refused("an object that is neither a list nor a dict")
        self.stack[-1].update(_pairs(items))

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def pop_mark_or_item(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    # A tuple as a key is hashed in full, which tuples of tuples of one another make last for ever.
    if not all(isinstance(key, (str, bytes, int, float)) for key in keys):
        raise _Refused("a dict whose keys are neither text nor numbers")
    return dict(zip(keys, items[1::2], strict=True))


def _text(value: PickledBytes) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


Step = Callable[[_Machine], None]


def _push(make: Callable[[_Machine], Any]) -> Step:
    return lambda machine: machine.stack.append(make(machine))


def _proto(machine: _Machine) -> None:
    if machine.number("<B") > 5:
        raise ValueError("its protocol is newer than 5")


def _stop(machine: _Machine) -> None:
    raise _Stop


def _frame(machine: _Machine) -> None:
    machine.take(8)  # only a hint how much to read at once


def _pop_mark(machine: _Machine) -> None:
    machine.marked()


def _tuple_of(count: int) -> Step:
    def step(machine: _Machine) -> None:
        items = machine.stack[-count:]
        if len(items) < count:
            raise IndexError("an empty stack")
        machine.stack[-count:] = [tuple(items)]

    return step


_STEPS: dict[bytes, Step] = {
    b"\x80": _proto,
    b"\x95": _frame,
    b".": _stop,
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"0": _Machine.pop_mark_or_item,
    b"1": _pop_mark,
    b"2": _push(lambda m: m.stack[-1]),
    # constants and numbers
    b"N": _push(lambda m: None),
    b"\x88": _push(lambda m: True),
    b"\x89": _push(lambda m: False),
    b"I": _push(_Machine.whole),
    b"L": _push(_Machine.digits),
    b"F": _push(lambda m: float(m.line())),
    b"J": _push(lambda m: m.number("<i")),
    b"K": _push(lambda m: m.number("<B")),
    b"M": _push(lambda m: m.number("<H")),
    b"G": _push(lambda m: m.number(">d")),
    b"\x8a": _push(lambda m: int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    # text and bytes
    b"S": _push(lambda m: codecs.escape_decode(m.line().strip()[1:-1])[0].decode("latin-1")),
    b"U": _push(lambda m: _text(m.string(m.number("<B")))),
    b"T": _push(lambda m: _text(m.string(m.number("<i")))),
    b"V": _push(lambda m: m.line().encode("latin-1").decode("raw-unicode-escape")),
    b"X": _push(lambda m: m.take(m.number("<I")).decode("utf-8", "surrogatepass")),
    b"\x8c": _push(lambda m: m.take(m.number("<B")).decode("utf-8", "surrogatepass")),
    b"\x8d": _push(lambda m: m.take(m.number("<Q")).decode("utf-8", "surrogatepass")),
    b"C": _push(lambda m: m.string(m.number("<B"))),
    b"B": _push(lambda m: m.string(m.number("<I"))),
    b"\x8e": _push(lambda m: m.string(m.number("<Q"))),
    b"\x96": _push(lambda m: m.string(m.number("<Q"))),
    # containers
    b"]": _push(lambda m: []),
    b"}": _push(lambda m: {}),
    b")": _push(lambda m: ()),
    b"l": _push(_Machine.marked),
    b"t": _push(lambda m: tuple(m.marked())),
    b"d": _push(lambda m: _pairs(m.marked())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"a": lambda m: m.fill_list([m.stack.pop()]),
    b"e": lambda m: m.fill_list(m.marked()),
    b"s": lambda m: m.fill_dict([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.fill_dict(m.marked()),
    # the memo
    b"p": lambda m: m.put(m.digits()),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": _push(lambda m: m.memo[m.digits()]),
    b"h": _push(lambda m: m.memo[m.number("<B")]),
    b"j": _push(lambda m: m.memo[m.number("<I")]),
    # names and what they make
    b"c": _push(lambda m: m.name(m.line(), m.line())),
    b"\x93": _push(lambda m: m.name(m.stack.pop(-2), m.stack.pop())),
    b"R": _Machine.call,
    b"b": _Machine.build,
}
"""Action of the machine by instruction. Missing: those that make objects (INST, OBJ, NEWOBJ, EXT), persistent ids,
sets, buffers outside of the file, and numbers of more than 255 bytes."""
