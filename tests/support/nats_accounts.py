"""Keys and tokens as the tool ``nsc`` makes them: an operator, an account and users of NATS."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Sequence

import pytest

__all__ = ["Account", "KeyPair"]


class KeyPair:
    """An Ed25519 key of NATS. ``kind``: ``"OPERATOR"``, ``"ACCOUNT"`` or ``"USER"``."""

    def __init__(self, kind: str) -> None:
        nkeys: Any = pytest.importorskip("nkeys")
        self.seed = nkeys.encode_seed(os.urandom(32), getattr(nkeys, f"PREFIX_BYTE_{kind}"))
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode("ascii")

    def token(self, subject: str, name: str, claims: Dict[str, Any]) -> str:
        """A JSON Web Token that this key has signed."""
        now = int(time.time())
        body = {
            "iss": self.public,
            "sub": subject,
            "name": name,
            "iat": now,
            "jti": os.urandom(16).hex(),
        }
        body["nats"] = {"version": 2, **claims}
        text = ".".join(_encoded(each) for each in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        signature = base64.urlsafe_b64encode(self._pair.sign(text.encode("ascii")))
        return f"{text}.{signature.rstrip(b'=').decode('ascii')}"


def _encoded(value: Any) -> str:
    text = base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode())
    return text.rstrip(b"=").decode("ascii")


class Account:
    """An account of an operator, as a server's configuration and as files of its users."""

    def __init__(self) -> None:
        operator = KeyPair("OPERATOR")
        self._account = KeyPair("ACCOUNT")
        unlimited = dict.fromkeys(
            ("subs", "data", "payload", "imports", "exports", "wildcards", "conn", "leaf"), -1
        )
        limits = {**unlimited, "wildcards": True}
        account = operator.token(self._account.public, "A", {"type": "account", "limits": limits})
        claims = operator.token(operator.public, "O", {"type": "operator"})
        self.configuration = (
            f'operator: "{claims}"\nresolver: MEMORY\n'
            f'resolver_preload: {{ {self._account.public}: "{account}" }}\n'
        )

    def credentials(self, path: Path, subjects: Sequence[str] = (">",)) -> str:
        """Write the file of a new user, who may use these subjects; return its path."""
        user = KeyPair("USER")
        may = {"allow": list(subjects)}
        claims = {"type": "user", "pub": may, "sub": may, "subs": -1, "data": -1, "payload": -1}
        token = self._account.token(user.public, "U", claims)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode('ascii')}\n"
            "------END USER NKEY SEED------\n"
        )
        return str(path)
