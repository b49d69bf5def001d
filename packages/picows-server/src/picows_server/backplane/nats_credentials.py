"""What tells NATS who a process is, checked before its client library reads it.

That library reads a ``.creds`` file without a token forever, and fails at other ones with errors of
many kinds, also when it connects again after a file has changed.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Mapping

from picows_server.backplane.interface import BackplaneError

__all__ = ["check_credentials", "import_nkeys"]

_TOKEN = re.compile(rb"BEGIN NATS USER JWT.*\n(\S+)\r?\n")
_SEED = re.compile(rb"BEGIN USER NKEY SEED.*\n(.+)\n")
# Options of nats.connect that need the library nkeys.
_WITH_KEYS = ("user_credentials", "nkeys_seed", "nkeys_seed_str")


def import_nkeys(options: Mapping[str, Any]) -> Any:
    """Return the module ``nkeys`` if the options need it, else None.

    :raises ImportError: it is not installed.
    """
    if all(options.get(name) is None for name in _WITH_KEYS):
        return None
    try:
        return import_module("nkeys")
    except ImportError:
        raise ImportError(
            "credentials and nkeys of NATS need nkeys: pip install 'nats-py[nkeys]'"
        ) from None


def check_credentials(nkeys: Any, options: Mapping[str, Any]) -> None:
    """Look at the files and keys of the options.

    :raises BackplaneError: one of them cannot be read, or is none. Says nothing of their content.
    """
    credentials, path = options.get("user_credentials"), options.get("nkeys_seed")
    seed = options.get("nkeys_seed_str")
    if isinstance(credentials, (str, Path)):
        text = _content(credentials)
        found = _SEED.search(text)
        if _TOKEN.search(text) is None or found is None:
            raise BackplaneError(
                f"{str(credentials)!r} has no token or no seed: it must be a .creds file"
            )
        _check_seed(nkeys, found[1], f"{str(credentials)!r}")
    elif seed is not None:
        _check_seed(nkeys, seed.strip().encode(), "nkeys_seed_str")
    elif path is not None:
        _check_seed(nkeys, _content(path).strip(), f"{str(path)!r}")


def _content(path: Any) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BackplaneError(f"the credentials cannot be read: {error}") from None


def _check_seed(nkeys: Any, seed: bytes, where: str) -> None:
    try:
        nkeys.from_seed(bytearray(seed)).wipe()
    except Exception as error:  # noqa: BLE001 - nkeys raises what base64 and its own checks raise
        reason = str(error) or type(error).__name__
        raise BackplaneError(f"the seed of {where} is none of an nkey: {reason}") from None
