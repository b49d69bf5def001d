"""Nothing is imported or opened by a second connection, of whatever kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.support.certificates import Certificates
from tests.support.servers import PLAIN_BACKENDS

_ROOT = Path(__file__).parents[2]


def _check(kind: str, backend: str, directory: Path, files: List[str]) -> None:
    if kind == "uvloop":
        pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.sealed", "client", kind, backend, *files],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [], done.stderr
    assert done.stderr.count("LOCAL_CLOSE") >= 4, done.stderr
    assert done.stderr.count("PING_TIMEOUT") == 2, done.stderr


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
def test_sealed_client(backend: str, tmp_path: Path, loop_kind: str) -> None:
    _check(loop_kind, backend, tmp_path, [])


# Not aiofastnet: its engine opens a temporary file for every TLS connection of a client.
@pytest.mark.parametrize("backend", ["loop"])
def test_sealed_tls_client(
    backend: str, tmp_path: Path, loop_kind: str, certificates: Certificates
) -> None:
    files = (certificates.authority, certificates.server_chain, certificates.server_key)
    _check(loop_kind, backend, tmp_path, [str(file) for file in files])
