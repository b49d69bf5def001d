from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Optional, Sequence

import pytest

from picows_server.backplane import BackplaneError, HistoryRule
from picows_server.backplane.envelope import PRODUCER_SIZE
from picows_server.backplane.redis_backplane import RedisBackplane
from picows_server.backplane.redis_cluster import RedisCluster
from picows_server.backplane.redis_commands import RedisCommands, slot_of
from tests.support.clusters import SLOTS, Cluster, slot_of_topic
from tests.support.engines import Engine, free_port
from tests.support.receivers import Remembering
from tests.support.receivers import until as until_for

RULE = HistoryRule(10_000)
# A cluster is many processes on one machine.
PATIENCE = 90.0
pytestmark = pytest.mark.timeout(300)
PERSISTS = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(scope="module", params=["valkey", "redis"])
def cluster(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Shared: a test leaves every slot where it was."""
    cluster = Cluster(request.param, tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(params=["valkey", "redis"])
def frail(request: Any, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of one's own: it persists every write, and the first primary has a replica."""
    cluster = Cluster(request.param, tmp_path, *PERSISTS, replicas=1)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


def publish(
    backplane: RedisBackplane, topic: str, payload: bytes, history: Optional[HistoryRule] = None
) -> None:
    backplane.publish(topic, payload, 1, key=None, history=history, token=None)


async def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Do something slow beside the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


async def until(condition: Callable[[], Any]) -> None:
    await until_for(condition, PATIENCE)


class Gateway:
    """The end of one process, subscribed to topics."""

    def __init__(self, backplane: RedisBackplane) -> None:
        self.backplane = backplane
        self.receiver = Remembering()

    @classmethod
    async def start(
        cls,
        url: str,
        with_history: Sequence[str] = (),
        plain: Sequence[str] = (),
        **options: Any,
    ) -> Gateway:
        gateway = cls(RedisBackplane(url, **options))
        await gateway.backplane.start(gateway.receiver)
        for topic in with_history:
            gateway.backplane.subscribe(topic, RULE)
        for topic in plain:
            gateway.backplane.subscribe(topic, None)
        await gateway.subscribed(*with_history, *plain)
        return gateway

    async def subscribed(self, *topics: str) -> None:
        for topic in topics:
            await asyncio.wait_for(self.backplane.subscribed(topic), PATIENCE)

    def payloads(self, topic: str) -> List[bytes]:
        return self.receiver.payloads(topic)

    @property
    def gaps(self) -> List[str]:
        return [topic for topics, _ in self.receiver.gaps for topic in topics or ["all"]]


class Traffic:
    """What several processes publish to the same topics, each message to all of them."""

    def __init__(
        self, gateways: List[Gateway], with_history: Sequence[str], plain: Sequence[str]
    ) -> None:
        self.gateways = gateways
        self.with_history = with_history
        self.plain = plain
        self.sent = 0

    def publish(self) -> None:
        for gateway in self.gateways:
            for topic in self.with_history:
                publish(gateway.backplane, topic, b"%d" % self.sent, RULE)
            for topic in self.plain:
                publish(gateway.backplane, topic, b"%d" % self.sent)
            self.sent += 1

    async def until(self, work: Optional[asyncio.Future[Any]] = None, steps: int = 10) -> None:
        """Publish until something is done, and so often at least."""
        while steps > 0 or (work is not None and not work.done()):
            self.publish()
            steps -= 1
            await asyncio.sleep(0.02)
        if work is not None:
            await work

    async def is_complete(self) -> None:
        """Everybody gets all of the topics with history, once, in one order."""
        first = self.gateways[0]
        for gateway in self.gateways:
            for topic in self.with_history:
                await until(lambda g=gateway, t=topic: len(g.payloads(t)) >= self.sent)
                found = gateway.payloads(topic)
                assert found == first.payloads(topic)
                assert set(found) == {b"%d" % number for number in range(self.sent)}
                assert len(found) == self.sent

    def is_told(self) -> None:
        """Of the others nobody gets anything twice, and each possible loss is reported."""
        for gateway in self.gateways:
            for topic in self.plain:
                found = gateway.payloads(topic)
                assert len(set(found)) == len(found)
            assert set(gateway.gaps) == set(self.plain)


def test_topics_are_on_all_servers(run: Any, cluster: Cluster) -> None:
    """Each topic in one order, and found by its history, wherever it is."""
    prefix = f"{free_port()}:"  # nobody has published there
    with_history = [topic for server in cluster.primaries for topic in cluster.topics(server, 2)]
    plain = [cluster.topics(server, 3)[2] for server in cluster.primaries]

    async def main() -> None:
        one = await Gateway.start(cluster.url, with_history, plain, prefix=prefix)
        other = await Gateway.start(cluster.primaries[2].url, with_history, plain, prefix=prefix)
        gateways = [one, other]
        assert one.backplane.stats().servers == one.backplane.stats().servers_connected == 3
        traffic = Traffic(gateways, with_history, plain)
        await traffic.until(steps=50)
        await traffic.is_complete()
        for gateway in gateways:
            for topic in plain:
                await until(lambda g=gateway, t=topic: len(g.payloads(t)) == traffic.sent)
        for topic in with_history:
            now = (await other.backplane.history(topic, None, RULE)).position
            assert now.offset == traffic.sent
            found = await one.backplane.history(topic, now._replace(offset=0), RULE)
            assert [each.payload for each in found.publications] == one.payloads(topic)
        one.backplane.unsubscribe(plain[1])
        publish(other.backplane, plain[1], b"last")
        await until(lambda: other.payloads(plain[1])[-1] == b"last")
        assert len(one.payloads(plain[1])) == traffic.sent
        for gateway in gateways:
            assert not gateway.gaps
            await gateway.backplane.close()
            assert [is_connected for is_connected, _ in gateway.receiver.states] == [True]
            stats = gateway.backplane.stats()
            assert stats.pending == stats.failed == stats.servers_connected == 0

    run(main)


def test_slot_that_moves(run: Any, cluster: Cluster) -> None:
    """A slot goes to another server, step by step, while its topics are in use."""
    source, target = cluster.primaries[:2]
    slot = slot_of_topic(cluster.topics(source, 50)[-1])
    with_history, plain = cluster.topics(source, 2, slot)

    async def main() -> None:
        options = {"prefix": f"{free_port()}:"}
        gateways = [
            await Gateway.start(cluster.url, [with_history], [plain], **options) for _ in range(2)
        ]
        one, other = (gateway.backplane for gateway in gateways)
        for gateway in gateways:
            gateway.receiver.counts[plain] = 2
            assert await gateway.backplane.count(plain)
        begin = (await one.history(with_history, None, RULE)).position
        traffic = Traffic(gateways, [with_history], [plain])
        await traffic.until(asyncio.ensure_future(apart(cluster.begin_move, slot, source, target)))
        # After this nobody has both keys of a topic, and the servers say TRYAGAIN.
        moving = asyncio.ensure_future(apart(cluster.move_keys, slot, source, target, 1))
        await traffic.until(moving)
        await asyncio.sleep(0.3)
        moving = asyncio.ensure_future(apart(cluster.move_keys, slot, source, target))
        await traffic.until(moving)
        # The topics are at the target, and their subscribers at the source still.
        await traffic.is_complete()
        assert await one.count(plain) == 4
        found = await other.history(with_history, begin, RULE)
        assert (found.recovered, len(found.publications)) == (True, traffic.sent)
        assert not gateways[0].gaps + gateways[1].gaps
        await traffic.until(asyncio.ensure_future(apart(cluster.end_move, slot, source, target)))
        for gateway in gateways:
            await until(lambda g=gateway: g.backplane.stats().moved == 2 and plain in g.gaps)
            await gateway.subscribed(with_history, plain)
        await traffic.until()
        await traffic.is_complete()
        traffic.is_told()
        publish(one, plain, b"end")
        for gateway in gateways:
            await until(lambda g=gateway: b"end" in g.payloads(plain))
            assert await gateway.backplane.count(plain) == 4
            stats = gateway.backplane.stats()
            assert (stats.reconnects, stats.silences, stats.failed, stats.pending) == (0, 0, 0, 0)
            assert gateway.backplane.is_connected
        for gateway in gateways:
            await gateway.backplane.close()

    try:
        run(main)
    finally:
        if cluster.owner(plain) is target:
            cluster.move(slot, target, source)


def test_nothing_is_lost_while_slots_move(cluster: Cluster) -> None:
    """Slots go from server to server while many topics are in use."""
    topics = [cluster.topics(server, 20)[-1] for server in cluster.primaries]
    beside = [
        cluster.topics(server, 2, slot_of_topic(topic))[1]
        for server, topic in zip(cluster.primaries, topics)
    ]

    def move_all() -> None:
        for _ in cluster.primaries:
            for topic in topics:
                server = cluster.owner(topic)
                following = cluster.primaries[(cluster.primaries.index(server) + 1) % 3]
                cluster.move(slot_of_topic(topic), server, following)

    async def main() -> None:
        options = {"prefix": f"{free_port()}:"}
        gateways = [await Gateway.start(cluster.url, topics, beside, **options) for _ in range(3)]
        traffic = Traffic(gateways, topics, beside)
        await traffic.until(asyncio.ensure_future(apart(move_all)))
        await traffic.is_complete()
        for gateway in gateways:
            await gateway.subscribed(*topics, *beside)
            await until(lambda g=gateway: set(g.gaps) == set(beside))
            await until(lambda g=gateway: not g.backplane.stats().pending)
            assert gateway.backplane.stats().failed == 0
            await gateway.backplane.close()
        traffic.is_told()

    asyncio.run(main())


def test_slot_that_nobody_has(cluster: Cluster) -> None:
    """What is published to its topics waits, and so do their subscribers."""
    server = cluster.primaries[1]
    slot = slot_of_topic(cluster.topics(server, 90)[-1])
    with_history, plain, unwanted = cluster.topics(server, 3, slot)

    async def main() -> None:
        gateway = await Gateway.start(cluster.url, [with_history], prefix=f"{free_port()}:")
        backplane = gateway.backplane
        traffic = Traffic([gateway], [with_history], [])
        for each in (server, cluster.primaries[0], cluster.primaries[2]):
            await apart(each.command, "CLUSTER", "DELSLOTS", slot)
        try:
            await traffic.until()
            await until(lambda: not backplane.is_connected)
            await traffic.until()
            backplane.subscribe(plain, None)
            publish(backplane, plain, b"1")
            backplane.subscribe(unwanted, None)
            backplane.unsubscribe(unwanted)
            with pytest.raises(BackplaneError, match="not connected"):
                await backplane.history(with_history, None, RULE)
        finally:
            await apart(server.command, "CLUSTER", "ADDSLOTS", slot)
        await traffic.is_complete()
        await gateway.subscribed(plain)
        publish(backplane, plain, b"2")
        await until(lambda: b"2" in gateway.payloads(plain))
        await until(lambda: backplane.is_connected)
        assert not gateway.gaps
        await backplane.close()

    asyncio.run(main())


def test_slot_that_is_back_at_once(cluster: Cluster) -> None:
    """Who subscribes to a topic that nobody has at that moment gets what it publishes then."""
    server = cluster.primaries[1]
    (topic,) = cluster.topics(server, 1)
    slot = slot_of_topic(topic)

    def refusals() -> int:
        found: Any = server.command("INFO", "errorstats")
        return int(found.get("errorstat_CLUSTERDOWN", {"count": 0})["count"])

    async def main() -> None:
        gateway = await Gateway.start(cluster.url, prefix=f"{free_port()}:")
        before = refusals()
        server.command("CLUSTER", "DELSLOTS", slot)
        try:
            gateway.backplane.subscribe(topic, RULE)
            # Or the gateway has just looked at the map.
            await until(lambda: refusals() > before or not gateway.backplane.is_connected)
        finally:
            server.command("CLUSTER", "ADDSLOTS", slot)
        # Not refused, while the subscription has not been tried again yet.
        publish(gateway.backplane, topic, b"x", RULE)
        await until(lambda: gateway.payloads(topic) == [b"x"])
        await gateway.backplane.close()

    asyncio.run(main())


def test_map_without_a_slot(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be fetched meanwhile is fetched when the slot is on the map again."""
    server = cluster.primaries[1]
    (topic,) = cluster.topics(server, 1)
    slot, prefix = slot_of_topic(topic), f"{free_port()}:"

    async def main() -> None:
        gateway = await Gateway.start(cluster.url, [topic], prefix=prefix)
        engine = gateway.backplane._engine
        assert engine is not None
        assert engine._cluster is not None
        find, is_looked_at = engine._cluster._find, asyncio.Event()
        answers = 0

        async def find_less() -> List[Any]:
            nonlocal answers
            answers += 1
            if answers > 1:
                await is_looked_at.wait()
                return await find()
            parts: List[Any] = []
            for each in await find():
                parts += [each._replace(last=slot - 1), each._replace(first=slot + 1)]
            return [each for each in parts if each.first <= each.last]

        monkeypatch.setattr(engine._cluster, "_find", find_less)
        engine._cluster._wanted.set()
        await until(lambda: not gateway.backplane.is_connected)

        def is_told() -> bool:
            # As another process tells that there may be more.
            server.command("SPUBLISH", f"{prefix}{{{topic}}}:c", b"\x01" + bytes(12))
            return engine.feeds[topic].is_filling

        await until(is_told)
        publish(gateway.backplane, topic, b"1", RULE)
        is_looked_at.set()
        await until(lambda: gateway.payloads(topic) == [b"1"])
        await until(lambda: gateway.backplane.is_connected)
        await gateway.backplane.close()

    asyncio.run(main())


def test_map_that_is_old(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a topic that is sent elsewhere by mistake nothing is lost."""
    first, second = cluster.primaries[:2]
    with_history, plain = cluster.topics(first, 2)

    async def main() -> None:
        options = {"prefix": f"{free_port()}:"}
        gateway = await Gateway.start(cluster.url, [with_history], [plain], **options)
        engine = gateway.backplane._engine
        assert engine is not None
        assert engine._cluster is not None
        find = engine._cluster._find
        answers = 0

        async def find_wrongly() -> List[Any]:
            nonlocal answers
            answers += 1
            wrong = {("127.0.0.1", first.port): second.port, ("127.0.0.1", second.port): first.port}
            return [
                each._replace(address=("127.0.0.1", wrong.get(each.address, each.address[1])))
                for each in await find()
            ]

        monkeypatch.setattr(engine._cluster, "_find", find_wrongly)
        engine._cluster._wanted.set()
        traffic = Traffic([gateway], [with_history], [plain])
        await until(lambda: answers >= 1)
        await traffic.until()
        assert not gateway.gaps
        while answers < 4:
            await traffic.until(steps=1)
        monkeypatch.undo()
        await traffic.is_complete()
        await gateway.subscribed(with_history, plain)
        await traffic.until()
        await traffic.is_complete()
        await until(lambda: plain in gateway.gaps)
        traffic.is_told()
        assert gateway.backplane.stats().failed == 0
        await gateway.backplane.close()

    asyncio.run(main())


def test_cluster_that_is_killed(frail: Cluster) -> None:
    """All of its servers end, and come back with what they had."""
    topics = [frail.topics(server, 1)[0] for server in frail.primaries]
    plain = [frail.topics(server, 2)[1] for server in frail.primaries]

    def restart() -> None:
        for server in frail.servers:
            server.start()

    async def main() -> None:
        gateways = [await Gateway.start(server.url, topics, plain) for server in frail.primaries]
        traffic = Traffic(gateways, topics, plain)
        await traffic.until(steps=20)
        for server in frail.servers:
            server.kill()
        await traffic.until()
        await until(lambda: not any(each.backplane.stats().servers_connected for each in gateways))
        await asyncio.sleep(1.5)
        await traffic.until(asyncio.ensure_future(apart(restart)))
        await traffic.is_complete()
        for gateway in gateways:
            await until(lambda g=gateway: g.backplane.is_connected)
            await until(lambda g=gateway: set(g.gaps) == set(plain))
            await gateway.backplane.close()
        traffic.is_told()

    asyncio.run(main())


@pytest.mark.parametrize("replaced", [True, False], ids=["by its replica", "by itself"])
def test_primary_that_is_killed(frail: Cluster, replaced: bool) -> None:
    """Its topics wait for the server that has them next; those of others go on."""
    first, second = frail.primaries[:2]
    lost, plain, lonely = frail.topics(first, 3)
    others = frail.topics(second, 2)

    async def main() -> None:
        urls = (frail.primaries[2].url, frail.url)
        gateways = [await Gateway.start(u, [lost, others[0]], [plain, others[1]]) for u in urls]
        one, other = (gateway.backplane for gateway in gateways)
        before = Traffic(gateways, [lost], [])
        await before.until(steps=100)
        await before.is_complete()
        position = gateways[0].receiver.publications[-1].position
        if replaced:
            assert await apart(first.command, "WAIT", 1, 10_000) == 1
        first.kill()
        during = Traffic(gateways, others[:1], [])
        for number in range(200, 300):
            publish(one, lost, b"%d" % number, RULE)
            publish(one, others[1], b"%d" % number)
        await until(lambda: not one.is_connected and not other.is_connected)
        await during.until()
        await during.is_complete()
        await until(lambda: len(gateways[1].payloads(others[1])) == 100)
        assert one.stats().servers_connected == 2
        with pytest.raises(BackplaneError, match=f"127.0.0.1:{first.port} is not connected"):
            await one.history(lost, None, RULE)
        one.subscribe(lonely, None)
        before.sent += 100
        if replaced:
            await apart(frail.replicas[0].command, "CLUSTER", "FAILOVER", "TAKEOVER")
        else:
            await apart(first.start)
        await before.is_complete()
        await until(lambda: one.is_connected and other.is_connected)
        await gateways[0].subscribed(plain, lonely)
        await until(lambda: gateways[0].gaps == gateways[1].gaps == [plain])
        for topic in (plain, lonely):
            publish(other, topic, b"x")
            await until(lambda topic=topic: gateways[0].payloads(topic) == [b"x"])
        missed = await other.history(lost, position, RULE)
        assert (missed.recovered, len(missed.publications)) == (True, 100)
        for backplane in (one, other):
            stats = backplane.stats()
            assert (stats.servers, stats.servers_connected, stats.failed) == (3, 3, 0)
            await backplane.close()

    asyncio.run(main())


def test_primary_that_is_relieved_and_one_that_is_silent(frail: Cluster) -> None:
    """An administrator makes the replica the primary; then that is stopped for a while."""
    first, replica = frail.primaries[0], frail.replicas[0]
    lost, plain = frail.topics(first, 2)
    elsewhere = frail.topics(frail.primaries[1], 1)[0]

    async def main() -> None:
        gateway = await Gateway.start(frail.url, [lost], [plain, elsewhere], probe_interval=1.0)
        backplane = gateway.backplane
        traffic = Traffic([gateway], [lost], [plain])
        await traffic.until(asyncio.ensure_future(apart(frail.relieve, first, replica)))
        await traffic.is_complete()
        await until(lambda: plain in gateway.gaps)
        traffic.is_told()
        await until(lambda: backplane.is_connected)
        gateway.receiver.gaps.clear()
        before = backplane.stats().silences
        replica.pause()
        try:
            traffic.publish()
            await until(lambda: backplane.stats().silences > before)
            await until(lambda: backplane.stats().servers_connected == 2)
            publish(backplane, elsewhere, b"x")
            await until(lambda: gateway.payloads(elsewhere) == [b"x"])
        finally:
            replica.resume()
        await traffic.is_complete()
        await until(lambda: plain in gateway.gaps)
        traffic.is_told()
        await backplane.close()

    asyncio.run(main())


def test_servers_come_and_go(tmp_path: Path) -> None:
    """A primary without slots is not used; with its first one it is."""
    cluster = Cluster("valkey", tmp_path, ends=(8000, SLOTS - 1, SLOTS))
    first, last = cluster.primaries[0], cluster.primaries[2]
    (topic,) = cluster.topics(last, 1)

    async def main() -> None:
        gateway = await Gateway.start(cluster.url, [topic])
        traffic = Traffic([gateway], [topic], [])
        assert gateway.backplane.stats().servers == 3
        for source, target, servers in ((last, first, 2), (first, last, 3), (last, first, 2)):
            moving = asyncio.ensure_future(apart(cluster.move, SLOTS - 1, source, target))
            await traffic.until(moving)
            await until(lambda n=servers: gateway.backplane.stats().servers == n)
            await until(lambda: gateway.backplane.is_connected)
            await traffic.until()
            await traffic.is_complete()
        assert not gateway.gaps
        await gateway.backplane.close()

    try:
        cluster.start()
        asyncio.run(main())
    finally:
        cluster.stop()


@pytest.mark.parametrize("is_ready", [False, True], ids=["at once", "when it is ready"])
def test_start_without_some_servers(tmp_path: Path, is_ready: bool) -> None:
    """Those that can be reached are used, and one that is given beside the URL is asked.

    One that starts takes no writes at first; the gateway comes before, or after that.
    """
    cluster = Cluster("valkey", tmp_path)
    topics = [cluster.topics(each, 1)[0] for each in cluster.primaries]
    nobody = free_port()

    async def main() -> None:
        startup_nodes = [("127.0.0.1", cluster.primaries[1].port)]
        gateway = await Gateway.start(f"redis://127.0.0.1:{nobody}", startup_nodes=startup_nodes)
        assert [is_connected for is_connected, _ in gateway.receiver.states] == [False]
        assert not gateway.backplane.is_connected
        for topic in topics:
            gateway.backplane.subscribe(topic, RULE)
            publish(gateway.backplane, topic, b"x", RULE)
        await until(lambda: len(gateway.receiver.publications) == 2)
        if is_ready:
            cluster.restart(cluster.primaries[0])  # the loop, and so the gateway, waits
        else:
            await apart(cluster.primaries[0].start)
        await until(lambda: len(gateway.receiver.publications) == 3)
        await until(lambda: gateway.backplane.is_connected)
        assert [is_connected for is_connected, _ in gateway.receiver.states] == [False, True]
        await gateway.backplane.close()
        other = free_port()
        with pytest.raises(BackplaneError, match=f":{nobody} .*:{other} ") as caught:
            await Gateway.start(
                f"redis://:secret@127.0.0.1:{nobody}", startup_nodes=[("127.0.0.1", other)]
            )
        assert "secret" not in str(caught.value)

    try:
        cluster.start()
        cluster.primaries[0].kill()
        asyncio.run(main())
    finally:
        cluster.stop()


def test_rights(cluster: Cluster) -> None:
    """A user with no more than the documented rights."""
    rights = (
        "on >pw resetkeys ~picows:* resetchannels &picows:* -@all +@connection +@pubsub +evalsha"
        " +script|load +info +hmget +hset +hdel +hlen +hgetall +del +xadd +xtrim +xrange"
        " +expire +ttl +time +cluster|slots"
    )
    for server in cluster.primaries:
        server.command("ACL", "SETUSER", "me", *rights.split())
    with_history, plain = zip(*(cluster.topics(server, 2) for server in cluster.primaries))

    async def main() -> None:
        url = cluster.url.replace("//", "//me:pw@")
        gateway = await Gateway.start(url, with_history, plain)
        for topic, rule in (*((each, RULE) for each in with_history), *((p, None) for p in plain)):
            gateway.receiver.counts[topic] = 1
            publish(gateway.backplane, topic, b"1", rule)
            await until(lambda topic=topic: gateway.payloads(topic) == [b"1"])
            assert await gateway.backplane.count(topic) == 1
        await gateway.backplane.close()

    asyncio.run(main())


def test_misuse(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = ("--cluster-port", str(free_port()))
    alone = Engine("valkey", tmp_path, "--cluster-enabled", "yes", *bus)

    async def main() -> None:
        with pytest.raises(BackplaneError, match=r"prefix='{a}:' has a brace"):
            await Gateway.start(cluster.url, prefix="{a}:")
        with pytest.raises(BackplaneError, match="has no slots"):
            await Gateway.start(alone.url)
        monkeypatch.setattr("picows_server.backplane.redis_cluster._OLDEST", 99)
        with pytest.raises(BackplaneError, match=r"version \d.*ShardedBackplane"):
            await Gateway.start(cluster.url)
        alone.kill()
        alone._arguments = ()
        await apart(alone.start)
        with pytest.raises(BackplaneError, match="startup_nodes="):
            await Gateway.start(alone.url, startup_nodes=[("127.0.0.1", free_port())])

    try:
        alone.start()
        asyncio.run(main())
    finally:
        alone.kill()


def test_server_without_a_slot_is_not_probed() -> None:
    """No channel is in a slot of it, and none is looked for: that would hold the loop up."""

    async def main() -> None:
        commands = RedisCommands(bytes(PRODUCER_SIZE), b"", 1.0, 1.0, None)
        nowhere: Any = None
        cluster = RedisCluster(nowhere, [], commands, nowhere, nowhere, nowhere)
        tried: List[bytes] = []

        def probe_channel(tag: bytes) -> bytes:
            tried.append(tag)
            return b"{%b}" % tag

        commands.probe_channel = probe_channel  # type: ignore[method-assign]
        owner, newcomer = (SimpleNamespace(probe_channel=b"{0}", probed=[]) for _ in range(2))
        for node in (owner, newcomer):
            node.probe_on = node.probed.append
            cluster._owners = [owner] * SLOTS  # type: ignore[list-item]
            cluster._place_probe(node)  # type: ignore[arg-type]
        assert (owner.probed, newcomer.probed, tried) == ([], [None], [])
        cluster._owners[5] = newcomer  # type: ignore[call-overload]
        cluster._place_probe(newcomer)  # type: ignore[arg-type]
        assert slot_of(newcomer.probed[1]) == 5

    asyncio.run(main())
