"""A field of a class or a struct of the codec is written only in the room that declares it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Pattern

import pytest

CODEC = Path(__file__).resolve().parents[1] / "packages" / "picows-codec" / "src" / "picows_codec"
SOURCES = sorted(path for path in CODEC.rglob("*.p*") if path.suffix in {".pxd", ".pyx"})

TEXT = re.compile(r'"""(?:.|\n)*?"""')
COMMENT = re.compile(r"#[^\n]*")
TYPE = re.compile(r"^(?:cdef|ctypedef) (?:class|struct) (\w+)(?:\((\w+)\))?:")
FIELD = re.compile(
    r"(?:readonly |public )?(?:const )?(?:unsigned )?([\w.]+)\*{0,2} \*?(\w+)(?:\[\w+\])?"
)
FUNCTION_OR_TOP_LEVEL = re.compile(r" *(?:async )?(?:def|cdef|cpdef) [^=:]*\(|(?=\w)")
VARIABLE = re.compile(r"\b(\w+)\*? \*?(\w+)(?= *(?:[,)=\[\n]|$))")
# Assignments, also chained and augmented ones, to an attribute of any variable but an exception;
# what is before it is its owner.
WRITE = re.compile(
    r"((?:\(<\w+\*?> [^()]*\)|\b(?!error\.)\w+(?:\[[^\]]*\])?)(?:\.\w+(?:\[[^\]]*\])?)*)"
    r"\.(\w+)(?:\[[^\]]*\])? (?:[-+*/&|^]|<<|>>)?=(?!=)"
)
CAST = re.compile(r"\(<(\w+)\*?> ")


class Field(NamedTuple):
    """Where a field is declared, and of which type it is."""

    room: str
    type: str


class Write(NamedTuple):
    """An assignment to a field: the type that has it if that is known, its name, its line."""

    owner: Optional[str]
    name: str
    line: str


class Types:
    """The fields of classes and structs, by type."""

    def __init__(self) -> None:
        self.fields: Dict[str, Dict[str, Field]] = {}
        self.bases: Dict[str, str] = {}

    def declare(self, room: str, source: str) -> None:
        """Take up every class and struct of a source."""
        for head, *body in blocks_of(source, re.compile(r"(?=\S)")):
            found = TYPE.match(head)
            if found:
                if found[2]:
                    self.bases[found[1]] = found[2]
                fields = self.fields.setdefault(found[1], {})
                for text in declarations_of(body, is_struct="struct" in head):
                    declared = FIELD.fullmatch(text)
                    assert declared, f"a field of {found[1]} on each line, not {text!r}"
                    fields[declared[2]] = Field(room, declared[1].rpartition(".")[2])

    def find(self, owner: Optional[str], name: str) -> Optional[Field]:
        """Return the field of a type, or of what it inherits from."""
        while owner is not None:
            field = self.fields.get(owner, {}).get(name)
            if field is not None:
                return field
            owner = self.bases.get(owner)
        return None

    def rooms(self, name: str) -> List[str]:
        """Return the rooms that declare a field of this name."""
        return sorted({fields[name].room for fields in self.fields.values() if name in fields})

    def type_of(self, owner: str, variables: Dict[str, str]) -> Optional[str]:
        """Return the type of an expression such as ``self._header`` or ``(<Wire> below)``."""
        cast = CAST.match(owner)
        first, *names = re.sub(r"\[[^\]]*\]|\([^)]*\)", "", owner).split(".")
        found = cast[1] if cast else variables.get(first)
        for name in names:
            field = self.find(found, name)
            found = field.type if field else None
        return found

    def writes(self, source: str) -> Iterator[Write]:
        """Yield every assignment to an attribute, function by function."""
        own: Optional[str] = None
        for block in blocks_of(source, FUNCTION_OR_TOP_LEVEL):
            outer = TYPE.match(block[0])
            if outer:
                own = outer[1]
            elif not block[0].startswith(" "):
                own = None
            found = VARIABLE.findall("\n".join(block))
            variables = {name: kind for kind, name in found if kind in self.fields}
            if own:
                variables["self"] = own
            for line in block:
                for owner, name in WRITE.findall(line):
                    yield Write(self.type_of(owner, variables), name, line.strip())


def blocks_of(source: str, begins: Pattern[str]) -> Iterator[List[str]]:
    """Cut a source into lists of lines, before each line that matches."""
    block: List[str] = []
    for line in source.splitlines():
        if block and begins.match(line):
            yield block
            block = []
        block.append(line)
    yield block or [""]


def declarations_of(body: List[str], *, is_struct: bool) -> Iterator[str]:
    """Yield what declares the fields of a class or struct, without ``cdef``."""
    in_block = False
    for line in body:
        indent = len(line) - len(line.lstrip())
        text = line.strip()
        if indent == 4:
            in_block = text == "cdef:"
        is_declaration = indent == 8 if in_block else is_struct or line.startswith("    cdef ")
        if is_declaration and text not in {"", "cdef:"} and "(" not in text:
            yield text[5:] if text.startswith("cdef ") else text


def source_of(path: Path) -> str:
    """Return a source without its comments and docstrings."""
    return COMMENT.sub("", TEXT.sub("", path.read_text(encoding="utf-8")))


def room_of(path: Path) -> str:
    """Return the room of a source; "folder.room" lies in a folder."""
    return ".".join(path.relative_to(CODEC).with_suffix("").parts)


def declared_types() -> Types:
    """Return all classes and structs of the codec."""
    types = Types()
    for path in SOURCES:
        types.declare(room_of(path), source_of(path))
    return types


def foreign_writes(types: Types, room: str, source: str) -> List[str]:
    """Return the assignments to fields that other rooms declare.

    Where the type of a variable is not known, the name of the field decides.
    """
    foreign: List[str] = []
    for write in types.writes(source):
        field = types.find(write.owner, write.name)
        if field is not None:
            rooms = [field.room]
        elif write.owner in types.fields:
            rooms = []  # a property
        else:
            rooms = types.rooms(write.name)
        if rooms and room not in rooms:
            foreign.append(f"{write.line}   # declared in {', '.join(rooms)}")
    return foreign


def test_fields_are_found() -> None:
    types = declared_types()
    for owner, name, room in [
        ("ConnectionState", "_state", "connection.state"),
        ("Writer", "_pending", "connection.writer"),
        ("Dispatcher", "_listener", "connection.dispatcher"),
        ("Receiver", "_head", "connection.receiver"),
        ("Closing", "_cause", "connection.closing"),
        ("WSEndpoint", "_keepalive", "connection.endpoint"),
        ("WSEndpoint", "_state", "connection.state"),
        ("StallWatch", "due", "connection.progress"),
        ("KeepAlive", "due", "connection.keepalive"),
        ("WSMessage", "payload_ptr", "frames"),
        ("WSFrame", "payload_ptr", "frames"),
        ("WSFrame", "tail_size", "frames"),
        ("WriteBuffer", "used", "buffers"),
        ("segment", "owner", "write_queue"),
        ("WSListener", "transport", "listener"),
        ("Assembly", "_parts", "listener"),
        ("WSFrameParser", "_parser", "parser"),
        ("ws_parser", "fragments", "parser"),
        ("ws_frame_header", "key", "frame_header"),
        ("ws_span", "start", "http.grammar"),
        ("Member", "watched_events", "stream.poller"),
    ]:
        field = types.find(owner, name)
        assert field is not None, f"{owner}.{name}"
        assert field.room == room
    assert sum(map(len, types.fields.values())) >= 260


def test_a_declaration_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(AssertionError, match="a field of Below on each line"):
        Types().declare("below", "cdef class Below:\n    cdef int _a, _b\n")


SAMPLE = """
cdef class Below:
    cdef int _a
    cdef readonly part _b
    cdef Below next

cdef struct part:
    const char* c
    int d[4]
"""


@pytest.mark.parametrize(
    "line",
    [
        "below._a = 1",
        "self._mine = below._a = 1",
        "below._a -= 1",
        "below._b.c = NULL",
        "below._b.d[i] |= 2",
        "below.next.next._a = 1",
        "(<Below> thing)._a = 1",
        "(<Below> thing)._b.d[0] = 1",
        "self._below._a = 1",
        "self._a = 1",
        "unknown._a <<= 1",
    ],
)
def test_writes_are_found(line: str) -> None:
    types = Types()
    types.declare("below", SAMPLE)
    types.declare("above", "cdef class Above(Below):\n    cdef Below _below\n    cdef int _mine\n")
    source = "cdef class Above(Below):\n    cdef f(\n            self, Below below):\n        "
    assert len(foreign_writes(types, "above", source + line)) == 1
    assert not foreign_writes(types, "below", SAMPLE + source[24:] + line)


@pytest.mark.parametrize(
    "line",
    ["if below._a == 1:", "below = 1", "self._mine = below._a", "error.status = 4", "own._a = 1"],
)
def test_other_lines_are_no_writes(line: str) -> None:
    types = Types()
    types.declare("below", SAMPLE)
    types.declare("above", "cdef class Above:\n    cdef int _mine\n    cdef int _a\n")
    source = "cdef int f(Above self, Below below) except -1:\n    cdef Above own = self\n    "
    assert not foreign_writes(types, "above", source + line)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-2:]))
def test_fields_are_written_where_they_are_declared(path: Path) -> None:
    assert not foreign_writes(declared_types(), room_of(path), source_of(path))
