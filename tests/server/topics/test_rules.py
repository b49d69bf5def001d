"""Rules: which one counts, what they count, what is refused."""

from __future__ import annotations

import asyncio
from typing import Any, Dict

import pytest

from picows_codec import WSInvalidOptionError
from picows_server.backplane.interface import HistoryRule
from picows_server.topics.rules import Rule, Rules, checked_rule

GOOD: Dict[str, Any] = {
    "prefix": "x",
    "when_slow": "disconnect",
    "retain": False,
    "history": 0,
    "history_seconds": None,
    "envelope": None,
}


def test_the_longest_prefix_counts() -> None:
    rules = Rules()
    for prefix in ("book.", "b", "book.BTC"):
        rules.set(Rule(prefix))
    found = {name: rules.of(name).prefix for name in ("book.BTC.1", "book.E", "bo", "x", "book.")}
    assert found == {
        "book.BTC.1": "book.BTC",
        "book.E": "book.",
        "bo": "b",
        "x": "",
        "book.": "book.",
    }


def test_a_rule_in_place_of_another_counts_on() -> None:
    rules = Rules()
    first = Rule("x")
    first.published = first.delivered = first.dropped = first.replaced = first.disconnected = 3
    rules.set(first)
    rules.set(Rule("x", "drop"))
    assert rules.of("xy").when_slow == "drop"
    assert rules.stats()["x"] == first.stats()
    assert set(rules.stats()) == {"", "x"}


def test_what_a_rule_keeps() -> None:
    assert Rule("").is_plain
    assert not Rule("").keeps
    assert Rule("", retain=True).keeps
    assert Rule("", history=HistoryRule(1)).keeps
    wrapping = Rule("", envelope=lambda topic, payload, position: payload)
    assert not wrapping.keeps
    assert not wrapping.is_plain


def test_what_a_caller_writes() -> None:
    rule = checked_rule(**{**GOOD, "history": 5, "history_seconds": 2, "retain": True})
    assert rule.history == HistoryRule(5, 2.0)
    assert rule.retain


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"when_slow": "wait"}, 'when_slow must be "disconnect", "drop" or "latest", not \'wait\''),
        ({"prefix": "a\n"}, r"prefix 'a\\n' has characters that cannot be printed"),
        ({"history": -1}, "history=-1 is out of range: 0 to"),
        ({"history": 5, "history_seconds": 0}, "history_seconds=0 is out of range"),
        ({"history": 5, "history_seconds": float("nan")}, "history_seconds=nan is out of range"),
        ({"history": 5, "history_seconds": float("inf")}, "or None for messages of any age"),
        ({"history": 2**31}, "history=2147483648 is out of range"),
        ({"history_seconds": 5}, "needs a number of messages"),
        ({"history": 5, "when_slow": "latest"}, "exclude each other"),
    ],
)
def test_values_out_of_range(wrong: Dict[str, Any], text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        checked_rule(**{**GOOD, **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix": None},
        {"retain": 1},
        {"history": True},
        {"history": 1.5},
        {"history": 5, "history_seconds": "1"},
        {"envelope": "json"},
        {"envelope": asyncio.sleep},
    ],
)
def test_values_of_wrong_types(wrong: Dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(reversed(wrong))):
        checked_rule(**{**GOOD, **wrong})
