"""Rules: what is done with the topics whose names begin with a prefix."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Optional, Union

from picows_codec import WSInvalidOptionError
from picows_server.backplane.interface import HistoryRule, Position
from picows_server.topics.stats import RuleStats

__all__ = ["Envelope", "Rule", "Rules", "checked_rule"]

#: Called once per message with the topic, the payload, and the position if the topic has a history;
#: returns the payload that subscribers get.
Envelope = Callable[[str, bytes, Optional[Position]], Union[str, bytes]]

# What every engine can count.
_MOST_MESSAGES = 2**31 - 1
_MOST_SECONDS = 1e9
_POLICIES = ("disconnect", "drop", "latest")


class Rule:
    """What is done with some topics, and what was done with them so far."""

    __slots__ = (
        "delivered",
        "disconnected",
        "dropped",
        "envelope",
        "history",
        "is_plain",
        "prefix",
        "published",
        "replaced",
        "retain",
        "when_slow",
    )

    def __init__(
        self,
        prefix: str,
        when_slow: str = "disconnect",
        retain: bool = False,
        history: Optional[HistoryRule] = None,
        envelope: Optional[Envelope] = None,
    ) -> None:
        self.prefix = prefix
        self.when_slow = when_slow
        self.retain = retain
        self.history = history
        self.envelope = envelope
        #: Whether messages are sent as they are, and not kept.
        self.is_plain = envelope is None and not retain and history is None
        self.published = 0
        self.delivered = 0
        self.dropped = 0
        self.replaced = 0
        self.disconnected = 0

    @property
    def keeps(self) -> bool:
        """Whether messages stay when they are delivered."""
        return self.retain or self.history is not None

    def stats(self) -> RuleStats:
        """The counts."""
        return RuleStats(
            self.published, self.delivered, self.dropped, self.replaced, self.disconnected
        )

    def count_on_from(self, former: Rule) -> None:
        """This rule is in place of another one."""
        self.published = former.published
        self.delivered = former.delivered
        self.dropped = former.dropped
        self.replaced = former.replaced
        self.disconnected = former.disconnected


class Rules:
    """The rules of a :class:`Topics`. The longest prefix that a name begins with counts."""

    def __init__(self) -> None:
        self._by_prefix: Dict[str, Rule] = {"": Rule("")}
        self._longest_first: List[Rule] = list(self._by_prefix.values())

    def set(self, rule: Rule) -> None:
        """Add a rule, or put it in place of the one with the same prefix."""
        former = self._by_prefix.get(rule.prefix)
        if former is not None:
            rule.count_on_from(former)
        self._by_prefix[rule.prefix] = rule
        self._longest_first = sorted(
            self._by_prefix.values(), key=lambda each: len(each.prefix), reverse=True
        )

    def of(self, name: str) -> Rule:
        """The rule of a topic."""
        for rule in self._longest_first:
            if name.startswith(rule.prefix):
                return rule
        raise AssertionError("the empty prefix is always there")  # pragma: no cover

    def stats(self) -> Dict[str, RuleStats]:
        """The counts of all rules, by prefix."""
        return {prefix: rule.stats() for prefix, rule in list(self._by_prefix.items())}


def checked_rule(
    prefix: str,
    when_slow: str,
    retain: bool,
    history: int,
    history_seconds: Optional[float],
    envelope: Optional[Envelope],
) -> Rule:
    """Make a rule of what a caller of ``configure`` wrote."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, not {type(prefix).__name__}: {prefix!r}")
    if not prefix.isprintable():
        raise WSInvalidOptionError(
            f"prefix {prefix!r} has characters that cannot be printed, so that no topic begins"
            " with it"
        )
    if when_slow not in _POLICIES:
        raise WSInvalidOptionError(
            f'when_slow must be "disconnect", "drop" or "latest", not {when_slow!r}'
        )
    if not isinstance(retain, bool):
        raise TypeError(f"retain must be True or False, not {retain!r}")
    function: Any = envelope
    if function is not None and (not callable(function) or inspect.iscoroutinefunction(function)):
        raise TypeError(f"envelope must be a function, and no coroutine function, not {envelope!r}")
    kept = _checked_history(history, history_seconds)
    if kept is not None and when_slow == "latest":
        raise WSInvalidOptionError(
            f'history={history} and when_slow="latest" exclude each other: "latest" leaves messages'
            ' out, and a position would not say so; use "disconnect" or "drop", or retain=True'
        )
    return Rule(prefix, when_slow, retain, kept, envelope)


def _checked_history(size: int, seconds: Optional[float]) -> Optional[HistoryRule]:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"history must be a number of messages, not {size!r}")
    if not 0 <= size <= _MOST_MESSAGES:
        raise WSInvalidOptionError(
            f"history={size} is out of range: 0 to {_MOST_MESSAGES} messages are allowed"
        )
    if seconds is None:
        return HistoryRule(size, None) if size else None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"history_seconds must be a number of seconds or None, not {seconds!r}")
    if not 0 < seconds <= _MOST_SECONDS:
        raise WSInvalidOptionError(
            f"history_seconds={seconds} is out of range: more than 0 and at most"
            f" {_MOST_SECONDS:.0e} seconds are wanted, or None for messages of any age"
        )
    if not size:
        raise WSInvalidOptionError(
            f"history_seconds={seconds} needs a number of messages, too: history=1000, for example"
        )
    return HistoryRule(size, float(seconds))
