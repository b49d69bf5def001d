"""Whatever is subscribed, published and sent while whoever is slow: a simple model has the same."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from picows_codec import WSState
from picows_server.topics import Topics
from tests.support.connection import Connection
from tests.support.frames import CONTINUATION, TEXT

CONNECTIONS = 2
HIGH, LOW, CAP = 60, 20, 1000
OVERHEAD = 200
RETAINED = ("kept", "kept.latest")
POLICIES = {
    "plain": "disconnect",
    "kept": "disconnect",
    "drop": "drop",
    "latest": "latest",
    "kept.latest": "latest",
}
TOPICS = sorted(POLICIES)
KEYS = (None, "a", "b")

Name = Tuple[str, Any]  # a topic and a key, or what is equal to nothing else

connections = st.integers(0, CONNECTIONS - 1)
topics = st.sampled_from(TOPICS)
keys = st.sampled_from(KEYS)
publications = st.tuples(topics, keys, st.sampled_from([*range(CONNECTIONS), None, None]))


class Reader:
    """What one connection should have."""

    def __init__(self) -> None:
        self.topics: Set[str] = set()
        self.received: List[str] = []
        self.held: List[str] = []  # inside a cork
        self.is_corked = False
        self.is_open = True
        self.is_slow = False
        self.is_paused = False
        self.in_fragments = False
        self.queue = 0
        self.latest: Dict[Any, Tuple[str, Any, str]] = {}
        self.blocked: Dict[Any, Tuple[str, Any, str]] = {}
        self.dropped = 0
        self.replaced = 0

    def waiting(self) -> int:
        lines = [*self.latest.values(), *self.blocked.values()]
        return sum(len(text) + OVERHEAD for _, _, text in lines)

    def queued(self) -> int:
        return self.queue + sum(len(text) + 2 for text in self.held)

    def end(self) -> None:
        self.is_open = False
        self.topics = set()
        self.held = []
        self.latest, self.blocked = {}, {}

    def send(self, text: str) -> None:
        if self.is_paused and self.queued() + len(text) > CAP:
            self.end()
            return
        self.held.append(text)
        if not self.is_corked:
            self.write()

    def write(self) -> None:
        if not self.held:
            return
        self.received += self.held
        if self.is_slow:
            self.queue += sum(len(text) + 2 for text in self.held)
            self.is_paused = self.is_paused or self.queue > HIGH
        self.held = []

    def send_all(self, texts: List[str], spares: bool) -> int:
        """In one cork."""
        was_corked, self.is_corked = self.is_corked, True
        count = 0
        for text in texts:
            if not self.is_open or self.in_fragments or (spares and self.is_paused):
                break
            self.send(text)
            count += self.is_open
        self.is_corked = was_corked
        if not was_corked:
            self.write()
        return count

    def offer(self, topic: str, key: Any, text: str) -> None:
        if not self.is_open:
            return
        policy = POLICIES[topic]
        if not self.in_fragments and (policy == "disconnect" or not self.is_paused):
            self.send(text)
            return
        name = (topic, key) if policy == "latest" else (topic, object())
        if self.in_fragments:
            if policy == "drop" and self.waiting() + len(text) + OVERHEAD > HIGH:
                self.dropped += 1
                return
            self.wait(self.blocked, name, topic, key, text)
        elif policy == "latest":
            self.wait(self.latest, name, topic, key, text)
        else:
            self.dropped += 1

    def wait(self, line: Dict[Any, Any], name: Any, topic: str, key: Any, text: str) -> None:
        if name in line:
            self.replaced += 1
            former = len(line[name][2]) + OVERHEAD
        else:
            former = 0
        if self.waiting() - former + len(text) + OVERHEAD + self.queued() > CAP:
            self.end()
            return
        line[name] = topic, key, text

    def may_send(self) -> None:
        if not self.is_open or self.in_fragments:
            return
        waiting = list(self.latest.items())
        self.latest = {}
        count = self.send_all([text for _, (_, _, text) in waiting], True)
        if not self.is_open:
            return
        self.latest = dict(waiting[count:])
        blocked = list(self.blocked.values())
        self.blocked = {}
        for topic, key, text in blocked:
            if self.is_open:
                self.offer(topic, key, text)

    def drain(self, size: int) -> None:
        self.queue -= min(size, self.queue)
        if self.is_paused and self.queue <= LOW:
            self.is_paused = False
            self.may_send()

    def unsubscribe(self, topic: str) -> None:
        self.topics.discard(topic)
        for line in (self.latest, self.blocked):
            for name in [name for name, (found, _, _) in line.items() if found == topic]:
                del line[name]


class Publishing(RuleBasedStateMachine):
    """Topics of every policy, and connections that are sent to beside them."""

    @initialize(subscriptions=st.sets(st.tuples(connections, topics)), are_slow=st.booleans())
    def begin(self, subscriptions: Set[Tuple[int, str]], are_slow: bool) -> None:
        self.topics = Topics()
        for topic, policy in POLICIES.items():
            self.topics.configure(topic, when_slow=policy, retain=topic in RETAINED)
        self.links: List[Connection] = []
        self.readers: List[Reader] = []
        for _ in range(CONNECTIONS):
            self.links.append(self.new_link())
            self.readers.append(Reader())
        self.retained: Dict[str, Dict[Optional[str], str]] = {topic: {} for topic in TOPICS}
        self.number = 0
        for index, topic in sorted(subscriptions):
            self.subscribe(index, topic)
        for index in range(CONNECTIONS if are_slow else 0):
            self.become_slow(index)

    def new_link(self) -> Connection:
        return Connection(
            "server",
            coalesce_writes=False,
            write_high_watermark=HIGH,
            write_low_watermark=LOW,
            max_write_queue_size=CAP,
        )

    def text(self) -> str:
        self.number += 1
        return f"message {self.number:04}"

    def publish(self, topic: str, key: Optional[str], excluded: Optional[int]) -> None:
        text = self.text()
        exclude = None if excluded is None else self.links[excluded].ws
        self.topics.publish(topic, text, key=key, exclude=exclude)
        if topic in RETAINED:
            self.retained[topic].pop(key, None)
            self.retained[topic][key] = text
        for index, reader in enumerate(self.readers):
            if topic in reader.topics and index != excluded:
                reader.offer(topic, key, text)

    @rule(index=connections, topic=topics)
    def subscribe(self, index: int, topic: str) -> None:
        reader = self.readers[index]
        assert self.topics.subscribe(self.links[index].ws, topic) is reader.is_open
        if not reader.is_open or topic in reader.topics:
            return
        kept = list(self.retained[topic].items())
        count = 0
        if not reader.in_fragments:
            spares = POLICIES[topic] != "disconnect"
            count = reader.send_all([text for _, text in kept], spares)
        for key, text in kept[count:]:
            reader.offer(topic, key, text)
        if reader.is_open:
            reader.topics.add(topic)

    @rule(index=connections, topic=topics)
    def unsubscribe(self, index: int, topic: str) -> None:
        reader = self.readers[index]
        found = self.topics.unsubscribe(self.links[index].ws, topic)
        assert found is (topic in reader.topics)
        reader.unsubscribe(topic)

    @rule(topic=topics, key=keys, excluded=st.sampled_from([*range(CONNECTIONS), None, None]))
    def publish_one(self, topic: str, key: Optional[str], excluded: Optional[int]) -> None:
        self.publish(topic, key, excluded)

    @rule(many=st.lists(publications, min_size=3, max_size=20))
    def publish_many(self, many: List[Tuple[str, Optional[str], Optional[int]]]) -> None:
        for each in many:
            self.publish(*each)

    @rule(many=st.lists(publications, max_size=6))
    def publish_batch(self, many: List[Tuple[str, Optional[str], Optional[int]]]) -> None:
        with self.topics.batch():
            for reader in self.readers:
                reader.is_corked = True
            for each in many:
                self.publish(*each)
        for reader in self.readers:
            reader.is_corked = False
            if reader.is_open:
                reader.write()

    def can_send(self, index: int) -> bool:
        return self.readers[index].is_open and not self.readers[index].in_fragments

    @rule(index=connections)
    def send(self, index: int) -> None:
        if self.can_send(index):
            text = self.text()
            self.links[index].ws.send(TEXT, text)
            self.readers[index].send(text)

    @rule(index=connections)
    def begin_fragments(self, index: int) -> None:
        reader = self.readers[index]
        if self.can_send(index):
            self.links[index].ws.send(TEXT, "<", fin=False)
            reader.send("<")
            reader.in_fragments = reader.is_open

    @rule(index=connections, is_last=st.booleans())
    def go_on(self, index: int, is_last: bool) -> None:
        reader = self.readers[index]
        if reader.is_open and reader.in_fragments:
            self.links[index].ws.send(CONTINUATION, ">", fin=is_last)
            reader.send(">")
            if is_last:
                reader.in_fragments = False
                reader.may_send()

    @rule(index=connections)
    def become_slow(self, index: int) -> None:
        reader = self.readers[index]
        if reader.is_open and not reader.is_slow:
            self.links[index].transport.room = 0
            reader.is_slow = True

    @rule(index=connections, size=st.integers(1, 400))
    def drain(self, index: int, size: int) -> None:
        if self.readers[index].is_open:
            self.links[index].transport.drain(size)
            self.readers[index].drain(size)

    @rule(index=connections)
    def catch_up(self, index: int) -> None:
        reader = self.readers[index]
        if reader.is_open:
            self.links[index].transport.room = None
            reader.is_slow = False
            self.links[index].transport.drain()
            reader.drain(reader.queue)

    @precondition(lambda self: self.number > 20)
    @rule(index=connections, is_abrupt=st.booleans())
    def disconnect(self, index: int, is_abrupt: bool) -> None:
        reader = self.readers[index]
        if reader.is_open:
            if is_abrupt:
                self.links[index].lose()
            else:
                self.links[index].ws.disconnect(graceful=False)
            reader.end()

    @rule(index=connections)
    def replace(self, index: int) -> None:
        """Another client comes in place of one that has gone."""
        if not self.readers[index].is_open:
            self.compare(index)
            self.links[index] = self.new_link()
            self.readers[index] = Reader()

    @invariant()
    def model_and_topics_agree(self) -> None:
        for index in range(len(self.links)):
            self.compare(index)
        subscriptions = sum(len(reader.topics) for reader in self.readers)
        assert self.topics.stats().subscriptions == subscriptions
        assert self.topics.stats().retained == sum(map(len, self.retained.values()))

    def compare(self, index: int) -> None:
        link, reader = self.links[index], self.readers[index]
        link.loop.run_ready()
        assert (link.ws.state is WSState.OPEN) is reader.is_open
        assert set(self.topics.of(link.ws)) == reader.topics
        texts = [frame.payload.decode() for frame in link.sent() if frame.opcode < 8]
        assert texts == reader.received
        reader.received = []
        if reader.is_open:
            stats = self.topics.stats_of(link.ws)
            assert stats.waiting == len(reader.latest) + len(reader.blocked)
            assert (stats.dropped, stats.replaced) == (reader.dropped, reader.replaced)
            assert link.ws.write_queue_size == reader.queue


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(max_examples=100, stateful_step_count=50)
