"""What a peer wrote, made harmless for a terminal."""

from __future__ import annotations

import re

__all__ = ["harmless", "indented"]

# What a terminal acts on, or what hides or reorders the text around it: control characters (C0
# without tab and line feed, C1, so every escape sequence), line separators that are not "\n",
# marks, overrides and isolates of bidirectional text, invisible fillers, tags, lone surrogates.
# The joiners of emoji and of some scripts are left.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def harmless(text: str) -> str:
    r"""Write harmful characters as ``repr`` does: ``\x1b`` for ESC. Tabs and lines are kept."""
    return _HARMFUL.sub(lambda found: ascii(found[0])[1:-1], text)


def indented(text: str, width: int) -> str:
    """Indent all lines but the first, so that none can pass for a message of its own."""
    return text.replace("\n", "\n" + " " * width)
