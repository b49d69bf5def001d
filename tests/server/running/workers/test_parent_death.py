"""picows_server.running.workers.parent_death: a process that does not outlive its parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.services import eventually_true, is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

CHILD = (
    "import os, sys, time;"
    " from picows_server.running.workers.parent_death import die_with_parent;"
    " die_with_parent({parent}); print(os.getpid(), flush=True); time.sleep(1000)"
)
PARENT = (
    "import os, subprocess, sys, time;"
    " subprocess.Popen([sys.executable, '-c', {child!r}.replace('PARENT', str(os.getpid()))]);"
    " time.sleep(1000)"
)


def test_it_dies_with_its_parent() -> None:
    program = PARENT.format(child=CHILD.format(parent="PARENT"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
        eventually_true(lambda: not is_alive(child))


def test_without_ctypes() -> None:
    child = CHILD.format(parent=os.getpid()).replace("time.sleep(1000)", "time.sleep(0)")
    program = f"import sys; sys.modules['ctypes'] = None; {child}"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=50)
    assert done.returncode == 0


def test_the_parent_is_gone_already() -> None:
    program = CHILD.format(parent=os.getpid() + 1)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=False, timeout=50
    )
    assert done.returncode == 1
    assert done.stdout == b""
