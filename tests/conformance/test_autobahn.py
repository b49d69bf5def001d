"""The committed results of Autobahn|Testsuite; ``tox -e conformance`` compares with a new run."""

from __future__ import annotations

from typing import Dict, Optional

import pytest

from tests.conformance.run_autobahn import (
    COMPRESSION,
    FRAMES,
    PARTS,
    SIDES,
    Part,
    Result,
    case_order,
    differences,
    is_ok,
    read_expected,
)

OK: Result = {"behavior": "OK", "behaviorClose": "OK", "closeCode": 1000}


@pytest.mark.parametrize("side", SIDES)
def test_every_case_of_groups_1_to_10_is_there(side: str) -> None:
    expected = read_expected(FRAMES, side)
    assert len(expected) == 301
    # Group 8 of the suite is empty.
    assert {case_order(case)[0] for case in expected} == {1, 2, 3, 4, 5, 6, 7, 9, 10}


@pytest.mark.parametrize("side", SIDES)
def test_every_case_of_groups_12_and_13_is_ok_and_was_compressed(side: str) -> None:
    expected = read_expected(COMPRESSION, side)
    assert {case_order(case)[0] for case in expected} == {12, 13}
    assert list(expected.values()) == [{**OK, "compressed": True}] * 216


@pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
@pytest.mark.parametrize("side", SIDES)
def test_every_case_is_ok_or_leaves_a_choice_for_a_stated_reason(side: str, part: Part) -> None:
    for case, result in read_expected(part, side).items():
        if not is_ok(result):
            verdicts = {result["behavior"], result["behaviorClose"]}
            assert verdicts <= {"OK", "NON-STRICT", "INFORMATIONAL"}, case
            assert len(result["reason"]) > 40, case


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ({"1.1": OK}, None),
        ({"1.1": {**OK, "closeCode": 1002}}, "1.1: expected OK/OK 1000, found OK/OK 1002"),
        ({"1.1": {**OK, "behavior": "FAILED"}}, "1.1: expected OK/OK 1000, found FAILED/OK 1000"),
        ({}, "1.1: expected OK/OK 1000, found nothing"),
        ({"1.1": OK, "10.1": OK}, "10.1: expected nothing, found OK/OK 1000"),
    ],
)
def test_a_difference_is_found(found: Dict[str, Result], line: Optional[str]) -> None:
    expected = {"1.1": {**OK, "reason": "is not compared"}}
    assert list(differences(expected, found)) == ([line] if line else [])


def test_a_message_that_was_not_compressed_is_a_difference() -> None:
    expected = {"12.1.1": {**OK, "compressed": True}}
    found = {"12.1.1": {**OK, "compressed": False}}
    assert list(differences(expected, found)) == [
        "12.1.1: expected OK/OK 1000, found OK/OK 1000, not compressed"
    ]
