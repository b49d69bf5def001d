from __future__ import annotations

from typing import Optional

from picows_server.backplane.numbering import LastNumbers


def use(numbers: LastNumbers[str], name: str, number: int) -> Optional[int]:
    """Return the number before this one."""
    last = numbers.get(name)
    if last is None:
        last = numbers.recall(name)
    numbers[name] = number
    return last


def test_names_that_were_used_last_are_known() -> None:
    numbers: LastNumbers[str] = LastNumbers(3)
    for number, name in enumerate("abcabcdaebafa"):
        use(numbers, name, number)
        assert len(numbers) <= 3
    assert use(numbers, "f", 20) == 11
    assert use(numbers, "a", 21) == 12
    assert use(numbers, "b", 22) == 9


def test_names_that_were_not_used_for_long_are_forgotten() -> None:
    numbers: LastNumbers[str] = LastNumbers(2)
    for number, name in enumerate("abcde"):
        assert use(numbers, name, number) is None
    assert use(numbers, "a", 5) is None
    assert use(numbers, "e", 6) == 4
