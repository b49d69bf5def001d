"""Fields of a connection, its buffers, transport and handshake: one room writes each of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

CODEC = Path(__file__).resolve().parents[1] / "packages" / "picows-codec" / "src" / "picows_codec"

# The rooms whose classes make up a connection and its transport, and those of its handshake.
CONNECTION = (
    "buffers",
    "deadlines",
    "connection.state",
    "connection.sender",
    "connection.receiver",
    "connection.closing",
    "connection.progress",
    "connection.keepalive",
    "connection.endpoint",
    "stream.poller",
    "stream.wire",
    "stream.transport",
)
HANDSHAKE = ("http.upgrade", "http.handshake", "http.client_handshake", "http.server_handshake")

# A line that declares a field: a type, a name, perhaps the size of an array and a comment.
FIELD = re.compile(
    r"^ +(?:cdef )?(?:readonly )?(?:unsigned )?[\w.]+\*? \*?(\w+)(?:\[\w+\])? *(?:#.*)?$"
)
BLOCK = re.compile(r"^ +cdef:$")
# Assignments, also chained and augmented ones, to an attribute of any variable but an exception.
WRITE = re.compile(r"\b(?!error\.)\w+\.(\w+)(?:\[[^\]]*\])? (?:[-+*/&|^]|<<|>>)?=(?!=)")
# Its constants look like fields.
ENUM = re.compile(r"^(?:cdef|ctypedef) enum\b.*:\n(?:(?: +.*)?\n)*", re.MULTILINE)
TEXT = re.compile(r'""".*?"""', re.DOTALL)


def fields_of(header: str) -> Iterator[str]:
    """Yield the names of the fields that the classes in a .pxd declare."""
    for line in TEXT.sub("", header).splitlines():
        found = FIELD.match(line)
        if found and not BLOCK.match(line):
            yield found[1]


def writes_of(source: str) -> Iterator[Tuple[str, str]]:
    """Yield name and line of every assignment to an attribute."""
    for line in TEXT.sub("", source).splitlines():
        for name in WRITE.findall(line):
            yield name, line.strip()


def path_of(room: str, suffix: str) -> Path:
    """Return the file of a room; "folder.room" lies in a folder."""
    return CODEC.joinpath(*room.split(".")).with_suffix(f".{suffix}")


def owners(rooms: Tuple[str, ...]) -> Dict[str, List[str]]:
    """Return the rooms that declare a field, by its name."""
    found: Dict[str, List[str]] = {}
    for room in rooms:
        header = path_of(room, "pxd").read_text(encoding="utf-8")
        for name in fields_of(ENUM.sub("", header)):
            found.setdefault(name, []).append(room)
    return found


def test_fields_are_found() -> None:
    found = owners(CONNECTION)
    assert found["frame_is_lent"] == ["buffers"]
    assert found["_state"] == ["connection.state"]
    assert found["_pending"] == ["connection.sender"]
    assert found["_head"] == ["connection.receiver"]
    assert found["_cause"] == ["connection.closing"]
    assert found["_keepalive"] == ["connection.endpoint"]
    assert found["watched_events"] == ["stream.poller"]
    assert found["_queue"] == ["stream.wire"]
    assert found["_closing"] == ["stream.transport"]
    assert found["due"] == ["connection.progress", "connection.progress", "connection.keepalive"]
    assert len(found) >= 60
    found = owners(HANDSHAKE)
    assert found["_path_size"] == ["http.upgrade"]
    assert found["response"] == ["http.upgrade", "http.handshake"]
    assert found["_chunked"] == ["http.client_handshake"]
    assert len(found) >= 30


def test_writes_are_found() -> None:
    source = '"""\nself.no = 1\n"""\nself._a = b._c = 1\nif x.y == 1:\nself._d[0] |= 2\nz.e -= 1\n'
    source += "error.status = 426\n"
    assert [name for name, _ in writes_of(source)] == ["_a", "_c", "_d", "e"]


@pytest.mark.parametrize("suffix", ["pyx", "pxd"])
@pytest.mark.parametrize("room", [*CONNECTION, *HANDSHAKE])
def test_fields_are_written_where_they_are_declared(room: str, suffix: str) -> None:
    found = owners(CONNECTION if room in CONNECTION else HANDSHAKE)
    source = path_of(room, suffix).read_text(encoding="utf-8")
    foreign = [
        f"{line}   # declared in {', '.join(found[name])}"
        for name, line in writes_of(source)
        if name in found and room not in found[name]
    ]
    assert not foreign
