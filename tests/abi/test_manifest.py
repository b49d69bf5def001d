"""What tools/abi.py makes of a change: which number it raises, if any may be."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional, Tuple

import pytest

import picows_codec
from picows_codec import WSAutoPingStrategy, WSCloseCode, WSMsgType
from tests.abi.conftest import Declarations
from tests.packaging.building import ROOT
from tests.test_imports import imports_of
from tools import abi

pytestmark = pytest.mark.skipif(
    ctypes.sizeof(ctypes.c_void_p) != 8, reason="the manifest is that of 64-bit platforms"
)
INSTALLED = Path(picows_codec.__file__).parents[1]

CHANGES = [
    pytest.param(
        "mask.pxd",
        ("cdef int ws_masking_key", "cdef int ws_later() nogil\ncdef int ws_masking_key"),
        "ABI_LEVEL",
        "+ mask.functions.ws_later: ",
        id="new function",
    ),
    pytest.param(
        "constants.pxd",
        ("    WS_OP_PONG = 0xA", "    WS_OP_PONG = 0xA\n    WS_OP_LATER = 0xB"),
        "ABI_LEVEL",
        "+ constants.constants.WS_OP_LATER: 11",
        id="new constant",
    ),
    pytest.param(
        "constants.pxd",
        ("cdef enum ws_opcode:", "cdef enum ws_later:\n    WS_L\n\ncdef enum ws_opcode:"),
        "ABI_LEVEL",
        "+ constants.enums.ws_later: 4",
        id="new enum",
    ),
    pytest.param(
        "constants.pxd",
        ("cdef enum ws_opcode:", "cdef enum:"),
        "nothing",
        "- constants.enums.ws_opcode: 4",
        id="name of an enum",
    ),
    pytest.param(
        "listener.pxd",
        ("cdef void _reserved_of_messages_0(self) noexcept", "cdef int later(self) except -1"),
        "ABI_LEVEL",
        "! listener.classes.WSMessageListener.slots.24: (private) -> later: int",
        id="method in a reserved slot",
    ),
    pytest.param(
        "listener.pxd",
        ("cdef void _reserved_of_messages_2(self) noexcept", "cdef void _r(self) noexcept"),
        None,
        "",
        id="private method",
    ),
    pytest.param(
        "parser.pxd",
        ("uint64_t _reserved[2]", "uint64_t later\n    uint64_t _reserved[1]"),
        "ABI_LEVEL",
        "+ parser.structs.ws_parser.fields.later: 56 uint64_t",
        id="field in reserved room",
    ),
    pytest.param(
        "parser.pxd",
        ("uint64_t _reserved[2]", "uint64_t _reserved[3]"),
        "ABI_EPOCH",
        "! parser.structs.ws_parser.size: 72 -> 80",
        id="size of a struct",
    ),
    pytest.param(
        "listener.pxd",
        (
            "    cpdef pause_writing(self)\n    cpdef resume_writing(self)\n",
            "    cpdef resume_writing(self)\n    cpdef pause_writing(self)\n",
        ),
        "ABI_EPOCH",
        "! listener.classes.WSListener.slots.3: pause_writing: object (WSListener) cpdef ->",
        id="order of methods",
    ),
    pytest.param(
        "frames.pxd",
        ("        readonly Py_ssize_t tail_size\n", ""),
        "ABI_EPOCH",
        "- frames.classes.WSFrame.fields.tail_size: 80 Py_ssize_t",
        id="field of a class",
    ),
    pytest.param(
        "listener.pxd",
        ("cdef object _assembly ", "cdef object _x, _assembly "),
        "ABI_EPOCH",
        "! listener.classes.WSMessageListener.size: 48 -> 56",
        id="size of a class",
    ),
    pytest.param(
        "close.pxd",
        ("cdef bint ws_close_code_allowed(int code)", "cdef bint ws_close_code_allowed(long code)"),
        "nothing",
        "! close.functions.ws_close_code_allowed: bint (int) noexcept nogil -> bint (long)",
        id="signature in the stable tier",
    ),
    pytest.param(
        "constants.pxd",
        ("WS_OP_PONG = 0xA", "WS_OP_PONG = 0xB"),
        "nothing",
        "! constants.constants.WS_OP_PONG: 10 -> 11",
        id="constant in the stable tier",
    ),
]


def test_the_installed_codec_is_what_the_manifest_says() -> None:
    assert abi.compare(abi.describe(INSTALLED), abi.committed(), INSTALLED) == []


def test_command() -> None:
    command = [sys.executable, str(ROOT / "tools" / "abi.py")]
    outcome = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False
    )
    assert outcome.stdout == "the C-level API is what abi.json says\n"
    assert outcome.returncode == 0


@pytest.mark.parametrize(("file", "change", "number", "line"), CHANGES)
def test_change(
    declarations: Declarations,
    file: str,
    change: Tuple[str, str],
    number: Optional[str],
    line: str,
) -> None:
    declarations.replace(file, change)
    problems = abi.compare(abi.describe(declarations.source), abi.committed(), declarations.source)
    if number is None:
        assert problems == []
        return
    *changes, advice = problems
    assert any(found.startswith(line) for found in changes), changes
    assert advice.startswith("undo it" if number == "nothing" else f"raise {number}: ")


def test_a_raised_level(declarations: Declarations) -> None:
    declarations.replace(
        "mask.pxd", ("cdef int ws_masking_key", "cdef int later()\ncdef int ws_masking_key")
    )
    epoch, level, layouts = abi.numbers(declarations.source)
    declarations.write_guard()
    new = abi.numbers(declarations.source)
    assert new[:2] == (epoch, level + 1)
    assert new[2][:-1] == layouts
    guard = (declarations.source / "picows_codec" / "abi.pxd").read_text("utf-8")
    assert f"WS_ABI_EPOCH = {epoch}\n    WS_ABI_LEVEL = {level + 1}\n" in guard


def test_a_raised_epoch(declarations: Declarations) -> None:
    declarations.replace("parser.pxd", ("uint64_t _reserved[2]", "uint64_t _reserved[3]"))
    epoch = abi.numbers(declarations.source)[0]
    declarations.write_guard()
    new = abi.numbers(declarations.source)
    assert new[:2] == (epoch + 1, 1)
    assert len(new[2]) == 1


def test_the_stable_tier_is_not_written_over(declarations: Declarations) -> None:
    declarations.replace("constants.pxd", ("WS_OP_PONG = 0xA", "WS_OP_PONG = 0xB"))
    with pytest.raises(SystemExit, match="stays as it is, in every epoch"):
        declarations.write_guard()


def test_a_package_without_a_name(declarations: Declarations) -> None:
    declarations.replace("__init__.pxd", ("    WSListener,\n", ""))
    rooms = abi.describe(declarations.source)
    [problem] = abi.compare(rooms, abi.committed(), declarations.source)
    assert problem.startswith("__init__.pxd is out of date")


def test_a_new_name_is_in_the_package_too(declarations: Declarations) -> None:
    declarations.replace(
        "mask.pxd", ("cdef int ws_masking_key", "cdef int ws_later()\ncdef int ws_masking_key")
    )
    declarations.write_guard()
    package = (declarations.source / "picows_codec" / "__init__.pxd").read_text("utf-8")
    assert "from picows_codec.mask cimport (\n    ws_later,\n    ws_mask,\n" in package
    assert "\n    _" not in package


def test_a_name_in_two_files() -> None:
    rooms = {room: {"functions": {"ws_mask": "int ()"}} for room in ("mask", "utf8")}
    with pytest.raises(ValueError, match=r"more than one \.pxd file has ws_mask"):
        abi.package_text(rooms)


@pytest.mark.parametrize("room", abi.TIERS)
def test_public_files_reach_public_files_only(room: str) -> None:
    """And those of the stable tier none of the gated tier: who uses them checks no class."""
    reachable = {"abi", *(name for name, tier in abi.TIERS.items() if tier == "stable")}
    if abi.TIERS[room] == "gated":
        reachable.update(abi.TIERS)
    names = set(imports_of(abi.SOURCE / "picows_codec" / f"{room}.pxd"))
    own = {name.partition(".")[2] for name in names if name.startswith("picows_codec.")}
    assert "abi" in own
    assert own <= reachable


def test_everything_is_documented() -> None:
    """What each function needs of its buffers, or that it needs nothing; every struct and class."""
    text = (ROOT / "docs" / "embedding.md").read_text("utf-8")
    for room, kinds in abi.committed().items():
        assert f"| `{room}.pxd` | " in text
        for kind in ("functions", "structs", "classes"):
            for name in kinds.get(kind, {}):
                assert f"`{name}`" in text, f"{room}: {name}"


def test_a_guard_of_another_version(declarations: Declarations) -> None:
    declarations.replace("_version.py", ("__version__ = ", '__version__ = "7.0" #'))
    rooms = abi.describe(declarations.source)
    [problem] = abi.compare(rooms, abi.committed(), declarations.source)
    assert problem.startswith("abi.pxd is out of date")


@pytest.mark.parametrize("enumeration", [WSMsgType, WSCloseCode, WSAutoPingStrategy])
def test_c_constants_are_the_python_members(enumeration: Any) -> None:
    prefix = f"{enumeration.__name__}."
    found = {
        name[len(prefix) :]: number
        for name, number in abi.committed()["enums"]["constants"].items()
        if name.startswith(prefix)
    }
    assert found == {name: int(member) for name, member in enumeration.__members__.items()}
