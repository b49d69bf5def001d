"""What a peer or a caller wrote, made fit for one line of a log."""

from __future__ import annotations

__all__ = ["one_line", "quoted"]

_MOST = 100  # characters of a value


def one_line(text: object) -> str:
    """Escape line breaks and whatever else is not printable, as ``repr`` does.

    For an exception without a text, return its ``repr``.
    """
    written = str(text)
    if not written and isinstance(text, BaseException):
        written = repr(text)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in written)


def quoted(value: str) -> str:
    """A value in quotes, escaped as by :func:`one_line`, and cut when it is long."""
    return repr(value) if len(value) <= _MOST else f"{value[:_MOST]!r}..."
