"""picows_codec.option_table: one table, and everything that is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Optional, Union, get_type_hints

import pytest

from picows_codec import WSAutoPingStrategy, WSOptions, WSPermessageDeflate, WSTap
from picows_codec.option_table import (
    OPTIONS,
    SERVER_DEFAULTS,
    Number,
    Option,
    Seconds,
    described_options,
)
from picows_codec.option_types import WSConnectionOptions
from tools import options as tool

WRITTEN = tool.generated(OPTIONS)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_file_is_what_the_table_says(path: Path) -> None:
    """Else run python tools/options.py --write."""
    assert path.read_text("utf-8") == WRITTEN[path]


def test_the_tool_compares() -> None:
    program = [sys.executable, str(tool.ROOT / "tools" / "options.py")]
    output = subprocess.run(program, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    assert output == "everything is what option_table.py says\n"


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_a_new_row_is_written_everywhere(path: Path) -> None:
    row = Option("later", Seconds(is_optional=True), 1.5, "seconds of ``it``", server_default=None)
    text = tool.generated([row])[path]
    expected = {
        "options.pxd": "    cdef readonly object later\n",
        "options.pyx": '        self.later = values["later"]\n',
        "options.pyi": "    def later(self) -> float | None: ...\n",
        "option_types.py": "    later: Optional[float]\n"
        '    """Seconds of ``it``. Default: 1.5; server: None."""\n',
        "options.md": "| `later` | 1.5; server: None | seconds of `it` | none | none |\n",
    }
    assert expected[path.name] in text
    assert "max_frame_size" not in text.partition("later")[2].partition("\n\n")[0]


def test_names_are_unique() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
    assert tuple(option.name for option in OPTIONS) == WSOptions.names()


def test_server_defaults_that_differ() -> None:
    assert SERVER_DEFAULTS == {"auto_ping_idle_timeout": 20.0, "auto_ping_reply_timeout": 20.0}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("is_server", [False, True])
def test_defaults_pass_their_check(option: Option, is_server: bool) -> None:
    default = option.default_of(is_server=is_server)
    assert option.check(option.name, default) is default


def test_types_for_checkers_are_those_of_the_table() -> None:
    known = {"WSPermessageDeflate": WSPermessageDeflate, "AnyTap": WSTap}
    hints = get_type_hints(WSConnectionOptions, localns=known)
    assert hints.pop("compression") == Optional[Union[str, WSPermessageDeflate]]
    assert hints.pop("tap") == Optional[WSTap]
    types = {option.name: option.type for option in OPTIONS}
    types.pop("compression")
    types.pop("tap")
    assert hints == types
    assert WSConnectionOptions.__total__ is False


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_description_is_one_phrase(option: Option) -> None:
    for text in (option.description, option.memory, option.speed):
        assert text
        assert "\n" not in text
        assert "|" not in text
        assert not text.endswith(".")
    if isinstance(option.check, Seconds):
        assert "seconds" in option.description
    if isinstance(option.check, Number):
        assert option.check.unit.split()[-1] in option.description
    assert option.check.is_optional == ("None: " in option.description)


@pytest.mark.parametrize(
    ("is_server", "line"),
    [
        (False, "    ``auto_ping_reply_timeout`` (10.0): seconds to wait for the pong"),
        (True, "    ``auto_ping_reply_timeout`` (20.0): seconds to wait for the pong"),
    ],
)
def test_described_options(is_server: bool, line: str) -> None:
    lines = described_options(is_server=is_server).splitlines()
    assert line in lines
    heads = [text for text in lines if not text.startswith("     ")]
    for head, option in zip(heads, OPTIONS):
        assert head.startswith(f"    ``{option.name}`` (")
    assert len(heads) == len(OPTIONS)
    assert max(map(len, lines)) <= 100


def test_default_text() -> None:
    assert Option("a", Number(0, 1 << 30, "bytes"), 1 << 21, "bytes").default_text == "2 MiB"
    assert Option("a", Number(0, 1 << 30, "bytes"), 0, "bytes").default_text == "0"
    assert Option("a", None, False, "", server_default=True).default_text == "False; server: True"
    strategy = WSAutoPingStrategy.PING_PERIODICALLY
    assert Option("a", None, strategy, "").default_text == "PING_PERIODICALLY"
