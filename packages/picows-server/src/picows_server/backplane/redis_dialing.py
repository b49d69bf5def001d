"""Opens connections to Redis by its client library, which is imported here and nowhere else."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

from picows_codec import WSInvalidOptionError
from picows_server.backplane.cancellation import within
from picows_server.backplane.interface import BackplaneError
from picows_server.backplane.options import check_url

__all__ = ["Redirection", "RedisDialer", "encode_command", "import_redis"]

# Of a cluster's server: another one has what was asked for, or will have it, or nobody has it now.
_REDIRECTIONS = frozenset({"ASK", "CLUSTERDOWN", "MASTERDOWN", "MOVED", "TRYAGAIN"})


class Redirection(NamedTuple):
    """What the server of a cluster says that cannot do what it was asked for."""

    #: The first word: ``MOVED``, ``ASK``, ``TRYAGAIN``, ``CLUSTERDOWN`` or ``MASTERDOWN``.
    kind: str
    #: With ``MOVED`` and ``ASK``: the slot, and which server to ask. Without a host it is that of
    #: the server that says it.
    slot: int = -1
    host: str = ""
    port: int = 0


def import_redis() -> Any:
    """Return the module ``redis.asyncio``.

    :raises ImportError: it is not installed, or too old.
    """
    try:
        import hiredis  # noqa: F401, PLC0415 - an extra
        import redis.asyncio  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(
            "RedisBackplane needs redis and hiredis: pip install 'picows-server[redis]'"
        ) from None
    return redis.asyncio


def encode_command(*parts: bytes) -> bytes:
    """Return a command in Redis' protocol."""
    pieces = [b"*%d\r\n" % len(parts)]
    for part in parts:
        pieces += (b"$%d\r\n" % len(part), part, b"\r\n")
    return b"".join(pieces)


class RedisDialer:
    """Where an engine is, and how to open a connection to it.

    :param url: ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads it.
    :param options: for redis-py's ``Connection``, in addition to what the URL says.
    :param sentinels: host and port of each Sentinel; the host of the URL is the service's name.
    """

    def __init__(
        self,
        url: str,
        options: Dict[str, Any],
        sentinels: Sequence[Tuple[str, int]],
        timeout: float,
    ) -> None:
        self._library = library = import_redis()
        self._url = url
        self._own_options = options
        check_url(url, "redis", "rediss", "unix")
        parse_url = library.connection.parse_url
        try:
            given = dict(parse_url(url))
        except ValueError as error:
            raise WSInvalidOptionError(f"the URL of the engine cannot be read: {error}") from None
        self._kind = given.pop("connection_class", library.Connection)
        for pools_own in ("max_connections", "decode_responses"):
            given.pop(pools_own, None)
        given.update(options)
        if "host" in options and given.pop("path", None) is not None:
            self._kind = library.Connection
        # We have our own pauses, deadlines and probes. In the old protocol, messages of
        # subscriptions are plain lists, whose parsing costs less.
        given.update(
            protocol=2,
            decode_responses=False,
            socket_timeout=None,
            health_check_interval=0,
            retry=library.retry.Retry(_no_backoff(), 0),
        )
        try:
            self._kind(**given)
        except TypeError as error:
            raise TypeError(
                f"options, or what follows ? in the URL, are not those of redis-py: {error}"
            ) from None
        self._options = given
        self._sentinels = tuple(sentinels)
        self.timeout = timeout
        self._service = str(given.get("host", "localhost"))
        #: For errors and logs; never the password.
        self.name = str(
            given["path"]
            if "path" in given
            else f"{given.setdefault('host', 'localhost')}:{given.setdefault('port', 6379)}"
        )
        if sentinels:
            addresses = ", ".join(f"{host}:{port}" for host, port in sentinels)
            self.name = f"{self._service} of Sentinel ({addresses})"

    @property
    def host(self) -> str:
        """Of the server; of a Unix socket this machine."""
        return "localhost" if "path" in self._options else str(self._options["host"])

    def at(self, host: str, port: int) -> RedisDialer:
        """Return one for another server of the same cluster."""
        options = {**self._own_options, "host": host, "port": port}
        return RedisDialer(self._url, options, (), self.timeout)

    @property
    def refusal(self) -> Any:
        """The class of what the engine says in place of a reply."""
        return self._library.ResponseError

    def is_passing(self, refusal: Any) -> bool:
        """Tell whether the engine may accept the same later."""
        import redis.exceptions as errors  # noqa: PLC0415 - an extra

        kinds = (
            errors.NoScriptError,
            errors.ReadOnlyError,
            errors.OutOfMemoryError,
            errors.TryAgainError,
            errors.ClusterDownError,
            errors.MasterDownError,
        )
        return isinstance(refusal, kinds)

    def redirection(self, refusal: Any) -> Optional[Redirection]:
        """Read what the server of a cluster says; None: it refuses for another reason."""
        import redis.exceptions as errors  # noqa: PLC0415 - an extra

        # Newer versions of the library take the first word off.
        kinds = {
            errors.MovedError: "MOVED",
            errors.AskError: "ASK",
            errors.TryAgainError: "TRYAGAIN",
            errors.ClusterDownError: "CLUSTERDOWN",
            errors.MasterDownError: "MASTERDOWN",
        }
        kind, rest = kinds.get(type(refusal), ""), str(refusal)
        if not kind:
            kind, _, rest = rest.partition(" ")
        if kind not in _REDIRECTIONS:
            return None
        if kind not in {"MOVED", "ASK"}:
            return Redirection(kind)
        slot, _, address = rest.partition(" ")
        host, _, port = address.rpartition(":")
        return Redirection(kind, int(slot), host, int(port))

    async def open(self) -> Any:
        """Return a connection that is open and authenticated.

        :raises BackplaneError: it cannot be had; names the engine, never the password.
        """
        connection = None
        try:
            options = self._options
            if self._sentinels:
                host, port = await within(self.timeout, self._master())
                options = {**options, "host": host, "port": port}
            connection = self._kind(**options)
            await within(self.timeout, connection.connect())
        except asyncio.TimeoutError:
            await self.release(connection)
            raise BackplaneError(
                f"the engine {self.name} did not respond within {self.timeout} s"
            ) from None
        except (OSError, self._library.RedisError) as error:
            await self.release(connection)
            raise BackplaneError(
                f"the engine {self.name} cannot be used: {self._safe(error)}"
            ) from None
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def _master(self) -> Tuple[str, int]:
        wanted = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout}
        sentinel = self._library.Sentinel(list(self._sentinels), sentinel_kwargs=wanted)
        try:
            host, port = await sentinel.discover_master(self._service)
        finally:
            for each in sentinel.sentinels:
                await each.aclose()
        return str(host), int(port)

    def _safe(self, error: BaseException) -> str:
        text = str(error) or type(error).__name__
        password = self._options.get("password")
        return text.replace(password, "***") if password else text

    @staticmethod
    async def release(connection: Optional[Any]) -> None:
        """Close a connection without waiting for its peer."""
        if connection is not None:
            await connection.disconnect(nowait=True)


def _no_backoff() -> Any:
    from redis.backoff import NoBackoff  # noqa: PLC0415 - an extra

    return NoBackoff()
