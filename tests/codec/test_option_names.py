"""picows_codec.option_names: what an unknown name is told."""

from __future__ import annotations

import re

import pytest

from picows_codec.option_names import CONNECTION_MEANINGS, explain_option
from picows_codec.option_table import OPTIONS

KNOWN = ("url", "enable_auto_ping", "max_message_size")
MEANINGS = {"ping_interval": "write enable_auto_ping=True"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ping_interval", "'ping_interval': write enable_auto_ping=True"),
        ("ping_intervall", "'ping_intervall': if you mean 'ping_interval': write enable_auto_pi"),
        ("enable_autoping", "'enable_autoping': did you mean 'enable_auto_ping'?"),
        ("max_mesage_size", "'max_mesage_size': did you mean 'max_message_size'?"),
        ("xyzzy", "'xyzzy'"),
    ],
)
def test_explanation(name: str, text: str) -> None:
    assert explain_option(name, KNOWN, MEANINGS).startswith(text)


@pytest.mark.parametrize("name", sorted(CONNECTION_MEANINGS))
def test_what_is_recommended_for_options_is_one(name: str) -> None:
    names = {option.name for option in OPTIONS}
    assert name not in names
    recommended = re.findall(r"(\w+)=", CONNECTION_MEANINGS[name])
    assert recommended
    assert set(recommended) <= names
