"""The pictures of the site show what is there."""

from __future__ import annotations

import re

import pytest

from picows_codec.connection.state import TRANSITIONS
from tools import drawings


def test_every_state_has_its_place() -> None:
    assert set(drawings.STATES) == set(TRANSITIONS)
    text = drawings.states()
    names = re.findall(r'<text class="name"[^>]*>(\w+)<', text)
    assert sorted(names) == sorted(TRANSITIONS)
    assert text.count('class="arrow"') == text.count('class="event"')


@pytest.mark.parametrize("package", ["codec", "client", "server"])
def test_every_import_leads_to_the_left(package: str) -> None:
    text = drawings.rooms(package)
    assert text.count('class="arc"') > 50
    assert "wrong" not in text
