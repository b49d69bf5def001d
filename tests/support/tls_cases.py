"""Test cases for :mod:`tests.support.tls_contexts`, the same for both roles."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.support.certificates import Certificates
from tests.support.tls_contexts import CARRIED, NEED_LOOP

__all__ = [
    "carried",
    "check_carried",
    "check_during",
    "check_later",
    "check_needs_loop",
    "later",
    "needs_loop",
]

ROOT = Path(__file__).resolve().parents[2]

_HAS_PSK = hasattr(ssl.SSLContext, "set_psk_client_callback")


def _names(names: List[str], role: str) -> List[str]:
    skipped = {"client": ["sni_callback"], "server": ["host flags"]}[role]
    if not _HAS_PSK:
        skipped = [*skipped, "PSK callback"]
    return [name for name in names if name not in skipped]


def _roles_and_cases(names: List[str]) -> pytest.MarkDecorator:
    pairs = [(role, name) for role in ("client", "server") for name in _names(names, role)]
    return pytest.mark.parametrize(("role", "case"), pairs)


# What aiofastnet cannot carry, what it carries, and what can be set on a context that is in use.
needs_loop = _roles_and_cases(list(NEED_LOOP))
carried = _roles_and_cases(list(CARRIED))
later = _roles_and_cases(
    ["sni_callback", "keylog_filename", "_msg_callback", "post_handshake_auth"]
)


def _run(role: str, case: str, backends: str, loop: str, files: Certificates) -> List[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # where tests is; the rest is installed
    environment.pop("SSLKEYLOGFILE", None)
    if case == "SSLKEYLOGFILE":
        environment["SSLKEYLOGFILE"] = str(files.authority.parent / "environment.log")
    command = [sys.executable, "-m", "tests.support.tls_contexts", role, case, backends, loop]
    done = subprocess.run(
        [*command, str(files.authority.parent)],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def check_needs_loop(role: str, case: str, loop: str, files: Certificates) -> None:
    """``auto`` takes the loop and says so once, ``aiofastnet`` refuses with the reason."""
    named = "keylog_filename" if case == "SSLKEYLOGFILE" else case
    lines = _run(role, case, "auto,aiofastnet,loop", loop, files)
    (result, count, text, refusal, none), others = lines[:5], lines[5:]
    assert (result, count) == ("loop loop loop", "1"), text
    assert "carried by the event loop" in text
    assert named in text
    assert refusal.startswith("WSInvalidOptionError: backend='aiofastnet' cannot use"), refusal
    assert named in refusal
    assert none == "0"
    assert others == ["loop loop loop", "0"]


def check_carried(role: str, case: str, loop: str, files: Certificates) -> None:
    """Every backend carries it, and nothing is logged."""
    found = _run(role, case, "auto,aiofastnet,loop", loop, files)
    expected = []
    for name in ("aiofastnet", "aiofastnet", "loop"):
        expected += [f"{name} {name} {name}", "0"]
    assert found == expected


def check_later(role: str, case: str, backend: str, loop: str, files: Certificates) -> None:
    """What is set between two connections counts for the second one."""
    result, count, *texts = _run(role, f"later {case}", backend, loop, files)
    if role == "client" and backend == "aiofastnet":
        assert result.startswith("WSInvalidOptionError")
        assert case in result
    else:
        assert (result, count) == ("aiofastnet loop loop", "1"), texts
        assert case in texts[0]


def check_during(role: str, case: str, loop: str, files: Certificates) -> None:
    """What is set while a handshake is under way ends that, with the reason."""
    lines = _run(role, f"during {case}", "auto", loop, files)
    reason = f"failed: the ssl_context was changed during the handshake: {case} is set"
    assert [line for line in lines if line.endswith(reason)], lines
