"""What tells NATS who a process is, checked before its client library gets it.

That library reads a ``.creds`` file without a token forever, and fails at other ones with errors of
many kinds, also when it connects again after a file has changed. Older versions of it take the
newline at a file's end for a part of the seed.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Mapping

from picows_server.backplane.interface import BackplaneError

__all__ = ["import_nkeys", "read_credentials"]

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


def read_credentials(nkeys: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return options of ``nats.connect`` in the place of those that name a seed.

    :raises BackplaneError: a file or a key cannot be read, or is none. Says nothing of its content.
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
        _checked_seed(nkeys, found[1], f"{str(credentials)!r}")
        return {}
    if seed is not None:
        return {"nkeys_seed_str": _checked_seed(nkeys, seed.encode(), "nkeys_seed_str")}
    if path is not None:
        seed = _checked_seed(nkeys, _content(path), f"{str(path)!r}")
        return {"nkeys_seed": None, "nkeys_seed_str": seed}
    return {}


def _content(path: Any) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BackplaneError(f"the credentials cannot be read: {error}") from None


def _checked_seed(nkeys: Any, seed: bytes, where: str) -> str:
    seed = seed.strip()
    try:
        nkeys.from_seed(bytearray(seed)).wipe()
        return seed.decode("ascii")
    except Exception as error:  # noqa: BLE001 - nkeys raises what base64 and its own checks raise
        reason = str(error) or type(error).__name__
        raise BackplaneError(f"the seed of {where} is none of an nkey: {reason}") from None
