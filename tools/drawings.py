"""Pictures of the documentation, drawn from what the code says of itself, as SVG.

Colours are those of the page (the theme's variables), so that they suit light and dark. A state
without a place in STATES is an error.
"""

from __future__ import annotations

import ast
import re
from html import escape
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

from picows_codec.connection.state import TRANSITIONS
from tools.states import drawn_transitions

ROOT = Path(__file__).resolve().parents[1]

# Where each state of a connection is drawn: column and row.
STATES = {
    "CONNECTING": (1.5, 0.0),
    "OPEN": (1.5, 1.0),
    "LEAVING": (-0.25, 2.0),
    "CLOSE_SENT": (1.0, 2.0),
    "CLOSE_RECEIVED": (2.0, 2.0),
    "PEER_GONE": (3.25, 2.0),
    "CLOSE_EXCHANGED": (1.5, 3.0),
    "ABORTED": (0.0, 4.0),
    "LEFT": (1.5, 4.0),
    "FAILING": (0.0, 5.0),
    "CLOSED": (1.5, 5.0),
    "REFUSED": (3.0, 5.0),
}
# Arrows that would cross a box as straight lines: a point that they are drawn towards.
BENT = {
    ("CLOSE_RECEIVED", "LEFT"): (2.35, 3.2),
    ("CONNECTING", "REFUSED"): (4.75, 0.9),
    ("PEER_GONE", "LEFT"): (2.9, 3.6),
}
COLUMN, ROW, LEFT, TOP = 200, 92, 134, 34
WIDTH, HEIGHT = 156, 34

# Arcs of the pictures of rooms.
STEP = 12


def states() -> str:
    """Return the states of a connection and what leads from one to another."""
    parts = [arrow(state, following, label) for state, label, following in drawn_transitions()]
    parts += [box(state) for state in TRANSITIONS]
    height = TOP + 5 * ROW + HEIGHT
    return figure(int(LEFT + 4.0 * COLUMN), height, parts, "The states of a connection")


def place(state: str) -> Tuple[float, float]:
    """Return the middle of a state's box."""
    column, row = STATES[state]
    return LEFT + column * COLUMN, TOP + row * ROW


def box(state: str) -> str:
    """Return the box of a state."""
    x, y = place(state)
    return (
        f'<rect class="box" x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}"'
        f' height="{HEIGHT}" rx="8"/><text class="name" x="{x:g}" y="{y + 4.5:g}">{state}</text>'
    )


def arrow(begin: str, end: str, label: str) -> str:
    """Return an arrow from the edge of one box to that of another, with its label."""
    (x1, y1), (x2, y2) = place(begin), place(end)
    if (begin, end) in BENT:
        column, row = BENT[begin, end]
        bend = (LEFT + column * COLUMN, TOP + row * ROW)
    else:
        bend = ((x1 + x2) / 2, (y1 + y2) / 2)
    start, stop = edge((x1, y1), bend), edge((x2, y2), bend)
    x = 0.25 * start[0] + 0.5 * bend[0] + 0.25 * stop[0]
    y = 0.25 * start[1] + 0.5 * bend[1] + 0.25 * stop[1]
    begins, turns, ends = (f"{point[0]:.1f},{point[1]:.1f}" for point in (start, bend, stop))
    return (
        f'<path class="arrow" d="M{begins} Q{turns} {ends}"/>'
        f'<text class="event" x="{x:.1f}" y="{y + 4:.1f}">{escape(label)}</text>'
    )


def edge(middle: Tuple[float, float], towards: Tuple[float, float]) -> Tuple[float, float]:
    """Return where the line from the middle of a box to a point leaves the box."""
    dx, dy = towards[0] - middle[0], towards[1] - middle[1]
    share = min(
        (WIDTH / 2 + 4) / abs(dx) if dx else 9.0, (HEIGHT / 2 + 4) / abs(dy) if dy else 9.0, 1.0
    )
    return middle[0] + share * dx, middle[1] + share * dy


def figure(width: int, height: int, parts: List[str], title: str) -> str:
    """Return a picture that shrinks with the page, and scrolls where it would be too small."""
    kind = "wide" if width > 1000 else "narrow"  # wide ones scroll at their own size
    return (
        f'<div class="drawing"><svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}"'
        ' role="img">'
        f"<title>{escape(title)}</title>"
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7"'
        ' markerHeight="7" orient="auto-start-reverse"><path class="tip" d="M0,0L10,5L0,10z"/>'
        f"</marker></defs>{''.join(parts)}</svg></div>"
    )


def rooms(package: str) -> str:
    """Return the rooms of a package and all of its imports, as arcs.

    The order is that of tests/test_imports.py, so every arc leads to the left.
    """
    listed = constant(f"{package.upper()}_ROOMS")
    order = [room for room in listed if not room.rpartition(".")[2].startswith("_")]
    index = {room: number for number, room in enumerate(order)}
    for_types = constant("TYPES_FROM_ABOVE")
    arcs = [
        (index[room], index[other])
        for room in order
        for other in imported_rooms(package, room)
        if other in index and other != room and (room, other) not in for_types
    ]
    farthest = max(abs(a - b) for a, b in arcs)
    base = 12 + 0.32 * STEP * farthest
    parts = []
    for a, b in arcs:
        x1, x2 = 14 + STEP * a, 14 + STEP * b
        kind = "arc" if b < a else "arc wrong"
        radius = abs(x1 - x2) / 2
        parts.append(
            f'<path class="{kind}" d="M{x1},{base:.0f} A{radius:g},{radius * 0.64:g} 0 0 0'
            f' {x2},{base:.0f}"/>'
        )
    for room, number in index.items():
        x = 14 + STEP * number
        folder = "folder" if "." in room else "top"
        parts.append(f'<circle class="{folder}" cx="{x}" cy="{base:.0f}" r="3.2"/>')
        turned = f"translate({x - 3},{base + 9:.0f}) rotate(90)"
        parts.append(f'<text class="room" transform="{turned}">{room}</text>')
    title = f"The rooms of picows-{package} in the order of imports"
    height = int(base + 20 + 5.8 * max(map(len, order)))
    return figure(28 + STEP * (len(order) - 1), height, parts, title)


def constant(name: str) -> Any:
    """Return a constant of the test that checks every import."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text("utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    return next(
        ast.literal_eval(node.value)
        for node in assigned
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    )


def source_of(package: str, room: str) -> Path:
    """Return the source of a room."""
    base = ROOT / "packages" / f"picows-{package}" / "src" / f"picows_{package}"
    stem = base.joinpath(*room.split("."))
    paths = (stem.with_suffix(suffix) for suffix in (".pyx", ".py", ".pxd"))
    return next(path for path in paths if path.is_file())


def imported_rooms(package: str, room: str) -> Iterator[str]:
    """Yield the rooms of the same package that a room imports."""
    source = source_of(package, room)
    texts = [source.read_text("utf-8")]
    if source.suffix == ".pyx" and source.with_suffix(".pxd").is_file():
        texts.append(source.with_suffix(".pxd").read_text("utf-8"))
    pattern = rf"^\s*(?:from|import|cimport) picows_{package}\.([\w.]+)"
    yield from {name for text in texts for name in re.findall(pattern, text, re.MULTILINE)}


DRAWINGS: Dict[str, Callable[[], str]] = {
    "states": states,
    "rooms-codec": lambda: rooms("codec"),
    "rooms-client": lambda: rooms("client"),
    "rooms-server": lambda: rooms("server"),
}
