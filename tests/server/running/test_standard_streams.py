"""picows_server.running.standard_streams: in a process of its own, which has none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors of POSIX")

OPENING = """
import os, sys
from picows_server.running.standard_streams import open_missing

report = os.fdopen(int(sys.argv[1]), "w")
open_missing()
for number in range(3):
    is_null = os.path.sameopenfile(number, os.open(os.devnull, os.O_RDONLY))
    report.write(f"{number} {is_null} {os.get_inheritable(number)}\\n")
report.close()
"""

MOVING = """
import os, socket, sys
from picows_server.running.standard_streams import move_above

listening = socket.create_server(("127.0.0.1", 0))
assert move_above(listening) is listening
name = listening.getsockname()
os.dup2(listening.fileno(), 0)
listening.close()
listening = socket.socket(fileno=0)
moved = move_above(listening)
assert moved.fileno() > 2 and not moved.get_inheritable()
assert moved.getsockname() == name
assert listening.fileno() == -1
assert os.path.sameopenfile(0, os.open(os.devnull, os.O_RDONLY))
assert os.get_inheritable(0)
"""


def _run(source: str, *words: str, **options: Any) -> None:
    subprocess.run([sys.executable, "-c", source, *words], check=True, **options)


@pytest.mark.parametrize("closed", [(), (0,), (2,), (0, 1, 2)])
def test_only_those_that_are_closed_are_opened(closed: Any) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    read, write = os.pipe()
    pipe = subprocess.PIPE
    _run(
        OPENING,
        str(write),
        pass_fds=[write],
        preexec_fn=close,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    os.close(write)
    with open(read, encoding="utf-8") as report:
        lines = report.read().splitlines()
    assert [line.split()[1:] == ["True", "True"] for line in lines] == [
        number in closed for number in range(3)
    ]


def test_sockets_are_moved() -> None:
    _run(MOVING)
