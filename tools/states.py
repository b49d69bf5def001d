"""The diagram of a connection's states in ARCHITECTURE.md, from the table in connection.state.

Run with the codec installed: compares; ``--write`` brings the document up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Iterator, List, Tuple

from picows_codec.connection.state import TRANSITIONS, allows

DOCUMENT = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
BEGIN, END = "<!-- states: begin -->\n", "<!-- states: end -->\n"
# Possible in nearly every state, so their arrows would hide all others.
EVERYWHERE = {"ABORTS": "ABORTED", "ENDS": "CLOSED", "FAILS": "FAILING"}


def drawn_transitions() -> Iterator[Tuple[str, str, str]]:
    """Yield a state, an event and the state that follows, for each arrow that is drawn."""
    for state, events in TRANSITIONS.items():
        drawn = [event for event in events if event not in EVERYWHERE]
        for event in drawn or sorted(events.keys() & {"ENDS"}):
            yield state, event.lower().replace("_", " "), events[event]


def diagram() -> str:
    """Return the lines between the markers: the arrows, and what each state allows."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> CONNECTING"]
    lines += [f"    {state} --> {then}: {event}" for state, event, then in drawn_transitions()]
    lines += ["    CLOSED --> [*]", "```", ""]
    lines += ["Possible nearly everywhere, and drawn only where no other arrow leads on:", ""]
    for event, following in EVERYWHERE.items():
        others = [state for state in TRANSITIONS if event not in TRANSITIONS[state]]
        lines.append(
            f"- {event.lower()} leads to {following} from every state but {', '.join(others)}."
        )
    lines += ["", "| state | `WSState` | sends | reads | delivers |", "|---|---|---|---|---|"]
    for state in TRANSITIONS:
        public, *permissions = allows(state)
        marks = " | ".join("yes" if permission else "" for permission in permissions)
        lines.append(f"| {state} | {public.name} | {marks} |")
    return "\n".join(lines) + "\n"


def committed() -> str:
    """Return what the document has between the markers."""
    return DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def main(arguments: List[str]) -> None:
    """Compare or write."""
    if arguments == ["--write"]:
        before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        DOCUMENT.write_text(f"{before}{BEGIN}{diagram()}{END}{after}", encoding="utf-8")
    elif committed() != diagram():
        sys.exit(f"{DOCUMENT.name} does not show the table: python tools/states.py --write")


if __name__ == "__main__":
    main(sys.argv[1:])
