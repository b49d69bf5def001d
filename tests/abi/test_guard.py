"""Extensions that were compiled against another codec: an ImportError, never a crash."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Callable, Tuple

import pytest

import picows_codec
from picows_codec import abi as installed_abi
from tests.abi.conftest import Declarations
from tests.packaging.building import ROOT
from tools import abi

Run = Callable[[str, Path], "subprocess.CompletedProcess[str]"]

LISTENER = """\
from picows_codec.listener cimport WSListener
from picows_codec.transport cimport WSTransport
cdef class Listener(WSListener):
    cpdef pause_writing(self):
        pass
"""
PACKAGE = """\
from picows_codec cimport WSFrame, WSListener, WSTransport, ws_frame_header, ws_mask
cdef class Listener(WSListener):
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        pass
cdef ws_frame_header header
cdef void* address = <void*> ws_mask
"""
MODULE = """\
cimport picows_codec
cdef class Listener(picows_codec.WSListener):
    pass
cdef picows_codec.ws_parser parser
picows_codec.ws_parser_init(&parser, True)
"""
INLINE = """\
from libc.stdint cimport uint8_t
from picows_codec.frame_header cimport ws_frame_header_size
cdef uint8_t[2] head = [0x81, 0x05]
if ws_frame_header_size(head, 2) != 2:
    raise RuntimeError
"""
FUNCTION = "from picows_codec.mask cimport ws_mask\ncdef void* address = <void*> ws_mask\n"
PARSER = """\
from picows_codec.parser cimport ws_parser, ws_parser_init
cdef ws_parser parser
ws_parser_init(&parser, True)
"""
CONSTANTS = "from picows_codec.constants cimport WS_OP_TEXT\nprint(<int> WS_OP_TEXT)\n"

EPOCH, LEVEL = installed_abi.ABI_EPOCH, installed_abi.ABI_LEVEL
STRUCT = ("parser.pxd", ("uint64_t _reserved[2]", "uint64_t _reserved[3]"))
SLOTS = (
    "listener.pxd",
    (
        "    cpdef pause_writing(self)\n    cpdef resume_writing(self)\n",
        "    cpdef resume_writing(self)\n    cpdef pause_writing(self)\n",
    ),
)
SIZE = (
    "transport.pxd",
    ("cdef object _connection\n", "cdef object _connection, _more\n"),
)
ADDED = ("mask.pxd", ("cdef int ws_masking_key", "cdef int later()\ncdef int ws_masking_key"))


def error_of(outcome: subprocess.CompletedProcess[str]) -> str:
    """The ImportError that ended the program, and that it is one."""
    assert outcome.returncode == 1, outcome.stderr
    last: str = outcome.stderr.splitlines()[-1]
    assert last.startswith("ImportError: "), outcome.stderr
    return last


@pytest.mark.parametrize("text", [LISTENER, PACKAGE, MODULE, INLINE, FUNCTION, PARSER, CONSTANTS])
def test_no_mismatch(declarations: Declarations, run_extension: Run, text: str) -> None:
    outcome = run_extension(text, declarations.source)
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.parametrize("document", ["docs/embedding.md", "packages/picows-codec/README.md"])
def test_what_the_documents_show(
    declarations: Declarations, run_extension: Run, document: str
) -> None:
    text = (ROOT / document).read_text("utf-8")
    [block] = re.findall(r"^```cython\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    outcome = run_extension(block, declarations.source)
    assert (outcome.returncode, outcome.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        pytest.param(LISTENER, SLOTS, id="reordered slots"),
        pytest.param(PACKAGE, SLOTS, id="reordered slots, from the package"),
        pytest.param(PARSER, STRUCT, id="struct size"),
        pytest.param(LISTENER, SIZE, id="class size"),
    ],
)
@pytest.mark.parametrize("honest", [True, False])
def test_another_layout(
    declarations: Declarations,
    run_extension: Run,
    text: str,
    change: Tuple[str, Tuple[str, str]],
    honest: bool,
) -> None:
    """Whether or not somebody raised the number."""
    declarations.replace(*change)
    declarations.replace("_version.py", (picows_codec.__version__, "0.0.9"))
    declarations.write_guard(unreleased=not honest)
    error = error_of(run_extension(text, declarations.source))
    epoch = EPOCH + 1 if honest else EPOCH
    compiled = f"picows-codec 0.0.9 (C API epoch {epoch}, level 1)"
    assert f"compiled against {compiled} cannot run" in error
    running = f"on picows-codec {picows_codec.__version__} (epoch {EPOCH}, level {LEVEL}): "
    assert running in error
    assert ("lie elsewhere" in error) == (not honest)
    assert error.endswith("compile it again, or pip install 'picows-codec>=0.0.9,<1'")


@pytest.mark.parametrize("text", [INLINE, CONSTANTS, PACKAGE])
def test_another_epoch(declarations: Declarations, run_extension: Run, text: str) -> None:
    """Also where nothing but constants and inline functions is used."""
    epoch, level, _ = abi.numbers(declarations.source)
    declarations.replace("abi.py", (f"ABI_EPOCH = {epoch}\n", f"ABI_EPOCH = {epoch + 7}\n"))
    declarations.replace("_version.py", (picows_codec.__version__, "8.0.1"))
    abi.write_guard(declarations.source)
    error = error_of(run_extension(text, declarations.source))
    assert f"picows-codec 8.0.1 (C API epoch {epoch + 7}, level {level})" in error
    assert error.endswith("compile it again, or pip install 'picows-codec>=8.0.1,<9'")


@pytest.mark.parametrize("text", [LISTENER, PACKAGE])
def test_an_older_level_at_run_time(
    declarations: Declarations, run_extension: Run, text: str
) -> None:
    declarations.replace(*ADDED)
    declarations.replace("_version.py", (picows_codec.__version__, "0.7.0"))
    declarations.write_guard()
    error = error_of(run_extension(text, declarations.source))
    assert f"picows-codec 0.7.0 (C API epoch {EPOCH}, level {LEVEL + 1}) cannot run on" in error
    assert f"picows-codec {picows_codec.__version__} (epoch {EPOCH}, level {LEVEL})" in error
    assert error.endswith(": pip install 'picows-codec>=0.7.0,<1'")
    assert "compile it again" not in error


def test_a_newer_level_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was compiled at any level of the epoch is answered."""
    monkeypatch.setattr(installed_abi, "ABI_LEVEL", 3)
    monkeypatch.setattr(installed_abi, "LAYOUTS", ("aaaa", "bbbb", "cccc"))
    for level, layout in enumerate(installed_abi.LAYOUTS, 1):
        name = f"epoch_{EPOCH}_level_{level}_layout_{layout}_version_0_0_1"
        assert getattr(installed_abi, name) is object
        with pytest.raises(ImportError, match="lie elsewhere"):
            getattr(installed_abi, name.replace(layout, "dddd"))


def test_other_names() -> None:
    with pytest.raises(AttributeError, match=re.escape("'picows_codec.abi' has no attribute 'x'")):
        _ = installed_abi.x
