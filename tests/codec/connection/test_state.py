"""The table of a connection's states, and connections that are driven through all of it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import pytest

from picows_codec import WSState, WSStateError
from picows_codec.connection.state import TRANSITIONS, allows, state_of
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tools import states

EVENTS = sorted({event for events in TRANSITIONS.values() for event in events})

# Why an event cannot come in a state, or is another one there.
AFTER_THE_OPENING = "the opening handshake is over"
NO_FRAMES_YET = "no frames are looked at before the connection is open"
NO_BYTES = "an aborted transport delivers nothing"
NO_CALLBACK = "nothing is read and no callback is left that could raise"
IMPOSSIBLE: Dict[str, Dict[str, str]] = {
    "CONNECTING": {
        "SENDS_CLOSE": "it raises",
        "DISCONNECTS": "it is ABORTS, as there is nobody to send a CLOSE frame to",
        "RECEIVES_CLOSE": NO_FRAMES_YET,
        "FAILS": NO_FRAMES_YET,
        "RECEIVES_EOF": "it is HANDSHAKE_FAILED",
    },
    "LEFT": {"FAILS": "only in the callback of a CLOSE frame, see below"},
    "FAILING": {"FAILS": NO_CALLBACK},
    "REFUSED": {"FAILS": NO_CALLBACK},
    "ABORTED": {
        "FAILS": NO_CALLBACK,
        "RECEIVES_CLOSE": NO_BYTES,
        "RECEIVES_EOF": NO_BYTES,
    },
    "CLOSED": {"FAILS": NO_CALLBACK},
}
for _name in TRANSITIONS:
    if _name != "CONNECTING":
        for _event in ("OPENED", "HANDSHAKE_FAILED"):
            IMPOSSIBLE.setdefault(_name, {})[_event] = AFTER_THE_OPENING


class Driven:
    """A connection in a state, with a full write queue so that its transport does not end."""

    def __init__(self, role: str, state: str) -> None:
        self.listener = Recorder()
        self.connection = Connection(role, self.listener, open=False, close_timeout=None)
        if state in {"CONNECTING", "REFUSED"}:
            self.connection.transport.room = 0
        self.connection.start()
        self.connection.transport.room = 0
        self.during_close: List[Callable[[], object]] = []
        self.seen_in_callback: List[str] = []
        self.listener.act("on_ws_frame", self._on_frame)
        if state not in ("CONNECTING", "REFUSED"):
            self.connection.open()
            self.connection.ws.send(frames.BINARY, bytes(200_000))
        for event in WAYS[state]:
            self.drive(event)

    @property
    def state(self) -> str:
        return state_of(self.connection.endpoint) or ""

    def _on_frame(self, transport: object, frame: Any) -> None:
        if frame.opcode == frames.CLOSE:
            self.seen_in_callback.append(self.state)
            for act in self.during_close:
                act()

    def drive(self, event: str) -> None:
        getattr(self, event.lower())()

    def opened(self) -> None:
        self.connection.open()

    def handshake_failed(self) -> None:
        self.connection.feed(b"no HTTP\r\n\r\n")

    def sends_close(self) -> None:
        try:
            self.connection.ws.send_close(1000)
        except WSStateError:
            assert not allows(self.state)[1]

    def disconnects(self) -> None:
        self.connection.ws.disconnect()

    def receives_close(self) -> None:
        self.connection.receive_close()

    def fails(self) -> None:
        if allows(self.state)[2]:
            self.connection.receive(11)  # reserved
            return

        def fail(transport: object) -> None:
            raise ValueError("as asked for")

        self.listener.act("resume_writing", fail)
        self.connection.endpoint.resume_writing()

    def receives_eof(self) -> None:
        self.connection.feed_eof()

    def aborts(self) -> None:
        self.connection.ws.disconnect(graceful=False)

    def ends(self) -> None:
        self.connection.lose()


# Which events lead to a state.
WAYS: Dict[str, List[str]] = {
    "CONNECTING": [],
    "OPEN": [],
    "CLOSE_SENT": ["SENDS_CLOSE"],
    "LEAVING": ["DISCONNECTS"],
    "CLOSE_EXCHANGED": ["RECEIVES_CLOSE"],
    "LEFT": ["DISCONNECTS", "RECEIVES_CLOSE"],
    "PEER_GONE": ["RECEIVES_EOF"],
    "FAILING": ["FAILS"],
    "REFUSED": ["HANDSHAKE_FAILED"],
    "ABORTED": ["ABORTS"],
    "CLOSED": ["ENDS"],
}


# The table


def test_every_state_and_event_is_in_the_table() -> None:
    leads_to = {state for events in TRANSITIONS.values() for state in events.values()}
    assert leads_to | {"CONNECTING"} == set(TRANSITIONS)
    assert set(WAYS) | {"CLOSE_RECEIVED"} == set(TRANSITIONS)


def test_what_each_state_allows() -> None:
    assert {state: allows(state) for state in TRANSITIONS} == {
        # state               WSState            sends  reads  delivers
        "CONNECTING": (WSState.CONNECTING, False, True, False),
        "OPEN": (WSState.OPEN, True, True, True),
        "CLOSE_SENT": (WSState.CLOSING, False, True, True),
        "LEAVING": (WSState.CLOSING, False, True, False),
        "CLOSE_RECEIVED": (WSState.CLOSING, True, False, True),
        "CLOSE_EXCHANGED": (WSState.CLOSING, False, False, True),
        "LEFT": (WSState.CLOSING, False, False, False),
        "PEER_GONE": (WSState.CLOSING, False, False, True),
        "FAILING": (WSState.CLOSING, False, False, False),
        "REFUSED": (WSState.CLOSING, False, False, False),
        "ABORTED": (WSState.CLOSING, False, False, False),
        "CLOSED": (WSState.CLOSED, False, False, False),
    }


def test_states_only_advance_and_nothing_comes_back() -> None:
    for state, events in TRANSITIONS.items():
        for event, following in events.items():
            before, after = allows(state), allows(following)
            assert before[0] <= after[0], (state, event)
            if event != "OPENED":
                assert all(was or not is_ for was, is_ in zip(before[1:], after[1:])), event


def test_every_connection_can_be_aborted_and_ends() -> None:
    for state, events in TRANSITIONS.items():
        if state != "CLOSED":
            assert events["ENDS"] == "CLOSED"
        if state not in ("ABORTED", "CLOSED"):
            assert events["ABORTS"] == "ABORTED"


def test_the_diagram_shows_the_table() -> None:
    assert states.committed() == states.diagram()


def test_the_diagram_leads_from_every_state_to_the_end() -> None:
    for state in TRANSITIONS:
        assert f"\n    {state} --> " in states.diagram()


# Connections


@both_roles
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", sorted(WAYS))
def test_transition(role: str, state: str, event: str) -> None:
    if event in IMPOSSIBLE.get(state, {}):
        assert event not in TRANSITIONS[state] or state == "LEFT"
        return
    driven = Driven(role, state)
    assert driven.state == state
    assert driven.connection.ws.state == allows(state)[0]
    driven.drive(event)
    expected = TRANSITIONS[state].get(event, state)
    if expected == "CLOSE_RECEIVED":  # the reply follows the callback
        assert driven.seen_in_callback == [expected]
        expected = TRANSITIONS[expected]["SENDS_CLOSE"]
    assert driven.state == expected
    assert driven.connection.ws.state == allows(expected)[0]
    if expected != "CLOSED":
        driven.drive("ENDS")
        assert driven.state == "CLOSED"


@both_roles
@pytest.mark.parametrize("event", ["SENDS_CLOSE", "DISCONNECTS", "ABORTS"])
def test_transition_in_the_callback_of_a_close_frame(role: str, event: str) -> None:
    driven = Driven(role, "OPEN")
    after: List[str] = []
    driven.during_close = [lambda: driven.drive(event), lambda: after.append(driven.state)]
    driven.drive("RECEIVES_CLOSE")
    assert driven.seen_in_callback == ["CLOSE_RECEIVED"]
    assert after == [TRANSITIONS["CLOSE_RECEIVED"][event]]
    assert driven.state in (after[0], "CLOSED")


@both_roles
@pytest.mark.parametrize("first", [None, "DISCONNECTS"])
def test_a_callback_of_a_close_frame_that_raises(role: str, first: Any) -> None:
    driven = Driven(role, "OPEN")

    def fail() -> None:
        raise ValueError("as asked for")

    driven.during_close = [fail]
    if first is not None:
        driven.during_close.insert(0, lambda: driven.drive(first))
    driven.drive("RECEIVES_CLOSE")
    before = "CLOSE_RECEIVED" if first is None else TRANSITIONS["CLOSE_RECEIVED"][first]
    assert driven.state == TRANSITIONS[before]["FAILS"]


@both_roles
def test_sending_is_allowed_where_the_table_says_so(role: str) -> None:
    for state in WAYS:
        connection = Driven(role, state).connection
        try:
            connection.ws.send_ping(b"")
        except WSStateError:
            assert not allows(state)[1], state
        else:
            assert allows(state)[1], state


def test_a_state_without_a_name() -> None:
    class Forgetful(type(Connection("client", open=False).endpoint)):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    assert state_of(Forgetful()) == "CLOSED"
