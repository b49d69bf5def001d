"""``ShardedBackplane``: several engines, each of which has some of the topics."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from picows_codec import WSInvalidOptionError
from picows_server.backplane.interface import (
    Backplane,
    BackplaneReceiver,
    BackplaneStats,
    History,
    HistoryRule,
    Position,
    Publication,
)

__all__ = ["ShardedBackplane"]

# Topics whose engine is remembered.
_KNOWN = 100_000


class ShardedBackplane:
    """Several engines as one backplane: each topic is on one of them.

    The engine of a topic is the one with the highest 64-bit number ``BLAKE2b(name, 0 byte, topic)``
    (rendezvous hashing). So an engine that is added takes its share of each other one, and all
    other topics stay where they are. All processes must have the same names; the order does not
    matter.

    :param engines: backplanes by name; of a sequence the names are "0", "1" and so on, so that its
        order matters.
    :raises WSInvalidOptionError: there is none, or one is there twice.
    :raises TypeError: a name is no str, or an engine is no backplane.
    """

    def __init__(self, engines: Union[Mapping[str, Backplane], Sequence[Backplane]]) -> None:
        if isinstance(engines, (list, tuple)):
            engines = {str(index): engine for index, engine in enumerate(engines)}
        if not isinstance(engines, Mapping):
            raise TypeError(
                "engines must be backplanes by name, or a list of them, not"
                f" {type(engines).__name__}"
            )
        if not engines:
            raise WSInvalidOptionError("at least one engine is wanted")
        for name, engine in engines.items():
            if not isinstance(name, str):
                raise TypeError(f"the name of an engine must be a str, not {name!r}")
            if isinstance(engine, type) or not hasattr(engine, "publish"):
                raise TypeError(
                    f"engine {name!r} must be a Backplane, such as RedisBackplane(url), not"
                    f" {engine!r}"
                )
        if len({id(engine) for engine in engines.values()}) < len(engines):
            raise WSInvalidOptionError(
                f"an engine is there twice among {', '.join(engines)}: make a backplane for each"
            )
        self._engines: List[Tuple[bytes, Backplane]] = [
            (name.encode("utf-8"), engine) for name, engine in engines.items()
        ]
        self._places: Dict[str, Backplane] = {}

    @property
    def supports_history(self) -> bool:
        return all(engine.supports_history for _, engine in self._engines)

    @property
    def supports_count(self) -> bool:
        return all(engine.supports_count for _, engine in self._engines)

    @property
    def is_connected(self) -> bool:
        return all(engine.is_connected for _, engine in self._engines)

    def engine_of(self, topic: str) -> Backplane:
        """Return the engine that has a topic."""
        engine = self._places.get(topic)
        if engine is None:
            if len(self._places) >= _KNOWN:
                self._places.clear()
            encoded = topic.encode("utf-8", "surrogatepass")
            engine = max(self._engines, key=lambda each: _weight(each[0], encoded))[1]
            self._places[topic] = engine
        return engine

    async def start(self, receiver: BackplaneReceiver) -> None:
        """Connect to all.

        :raises BackplaneError: one of them cannot be used; the others are closed again.
        """
        shared = _Shared(self, receiver)
        starts = [engine.start(_Share(engine, shared)) for _, engine in self._engines]
        try:
            outcomes = await asyncio.gather(*starts, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        except BaseException:
            await self.close()
            raise

    def subscribe(self, topic: str, history: Optional[HistoryRule]) -> None:
        self.engine_of(topic).subscribe(topic, history)

    def unsubscribe(self, topic: str) -> None:
        self.engine_of(topic).unsubscribe(topic)

    def publish(
        self,
        topic: str,
        payload: bytes,
        opcode: int,
        *,
        key: Optional[str],
        history: Optional[HistoryRule],
        token: Optional[int],
    ) -> None:
        self.engine_of(topic).publish(topic, payload, opcode, key=key, history=history, token=token)

    async def history(
        self, topic: str, since: Optional[Position], rule: HistoryRule, last: int = 0
    ) -> History:
        return await self.engine_of(topic).history(topic, since, rule, last)

    async def subscribed(self, topic: str) -> None:
        await self.engine_of(topic).subscribed(topic)

    async def count(self, topic: str) -> int:
        return await self.engine_of(topic).count(topic)

    def stats(self) -> BackplaneStats:
        """Return the totals of all engines."""
        return sum((engine.stats() for _, engine in self._engines), BackplaneStats())

    async def close(self) -> None:
        """Close all; can be repeated."""
        await asyncio.gather(*(engine.close() for _, engine in self._engines))


def _weight(name: bytes, topic: bytes) -> bytes:
    return blake2b(b"%b\0%b" % (name, topic), digest_size=8).digest()


class _Shared:
    """The receiver, and whether it believes that all engines are connected."""

    def __init__(self, backplane: ShardedBackplane, receiver: BackplaneReceiver) -> None:
        self.backplane = backplane
        self.receiver = receiver
        self.is_connected = False


class _Share:
    """What one of the engines tells."""

    def __init__(self, engine: Backplane, shared: _Shared) -> None:
        self._engine = engine
        self._shared = shared

    def received(self, publication: Publication) -> None:
        self._shared.receiver.received(publication)

    def gap(self, topics: Optional[Sequence[str]], cause: str) -> None:
        # An engine alone may mean all of its topics; that others have none is not known to it.
        self._shared.receiver.gap(topics, cause)

    def local_count(self, topic: str) -> int:
        return self._shared.receiver.local_count(topic)

    def connected(self, is_connected: bool, cause: str) -> None:
        shared = self._shared
        are_all = is_connected and shared.backplane.is_connected
        if are_all != shared.is_connected:
            shared.is_connected = are_all
            shared.receiver.connected(are_all, cause)
