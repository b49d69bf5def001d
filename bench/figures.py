"""A figure as people read it."""

from __future__ import annotations

__all__ = ["figure"]


def figure(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit in {"bytes/connection", "us"}:
        return f"{value:,.0f}"
    if value >= 1e6:
        return f"{value / 1e6:,.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:,.1f} k"
    return f"{value:,.0f}"
