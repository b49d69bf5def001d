"""What the demo prints: a table that fits the terminal, and a progress bar below it."""

from __future__ import annotations

import os
import sys
from textwrap import fill
from time import perf_counter
from typing import Dict, List, TextIO

NAME = 11  # columns of a table's cells
FIGURES = {"per second": 12, "p50": 11, "p99": 11}
NOTE = 34
BAR = 40
ECHO = "^C"  # what a terminal shows behind the bar when it is interrupted
INTERVAL = 0.1  # seconds between two pictures of the bar
UNLIMITED = 1000
BOLD, GREEN, PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[0m"


class Display:
    """The table goes to standard output, the bar to standard error if that is a terminal."""

    def __init__(self) -> None:
        self._begun = perf_counter()
        self._duration = 1.0
        self._next = 0.0
        self._shown = 0  # columns of the bar that is on the terminal now

    def say(self, *lines: str, indent: str = "") -> None:
        """Print text, wrapped where the terminal is narrow; ``indent`` begins what is wrapped."""
        width = columns_of(sys.stdout)
        for line in lines:
            print(fill(line, width, subsequent_indent=indent), flush=True)

    def head(self) -> None:
        """Print the headings of the table."""
        self._print_row("", list(FIGURES), "", styled=True)

    def row(self, name: str, per_second: float, p50: float, p99: float, note: str) -> None:
        """Print a line of the table; times are in microseconds."""
        figures = [f"{per_second:,.0f}", time_text(p50), time_text(p99)]
        self._print_row(name, figures, note)

    def _print_row(self, name: str, figures: List[str], note: str, styled: bool = False) -> None:
        self.hide_progress()
        width = columns_of(sys.stdout)
        line = f"{name:<{NAME}}"
        for figure, size in zip(figures, FIGURES.values()):
            if len(line) + size > width:
                break
            line += f"{figure:>{size}}"
        if NAME + sum(FIGURES.values()) + NOTE <= width:
            line += f"  {note}"
        line = line.rstrip()
        print(f"{BOLD}{line}{PLAIN}" if styled and knows_colours(sys.stdout) else line, flush=True)

    def finish(self, leads: Dict[str, str]) -> None:
        """Say what to look at next."""
        self.say("", "Next:")
        width = max(map(len, leads)) + 2
        for name, what in leads.items():
            self.say(f"  {name:<{width}}{what}", indent="    ")

    def expect(self, seconds: float) -> None:
        """Begin to measure the progress of something that takes so long."""
        self._begun = perf_counter()
        self._duration = seconds

    def progress(self, what: str) -> None:
        """Draw the bar, unless it was drawn a moment ago."""
        now = perf_counter()
        if now < self._next or not is_terminal(sys.stderr):
            return
        self._next = now + INTERVAL
        width = min(BAR, columns_of(sys.stderr) - len("[] 100% ") - NAME - len(ECHO) - 1)
        if width < 1:
            return
        done = min((now - self._begun) / self._duration, 1.0)
        full = round(done * width)
        bar, text = f"{'#' * full:.<{width}}", f" {done:4.0%} {what:<{NAME}}"
        self._shown = 2 + width + len(text)
        if knows_colours(sys.stderr):
            bar = f"{GREEN}{bar}{PLAIN}"
        print(f"\r[{bar}]{text}", end="", file=sys.stderr, flush=True)

    def hide_progress(self) -> None:
        """Remove the bar."""
        if self._shown:
            blank = " " * (self._shown + len(ECHO))
            print(f"\r{blank}\r", end="", file=sys.stderr, flush=True)
            self._shown = 0


def time_text(microseconds: float) -> str:
    """Return a time in a unit that suits it."""
    if microseconds < 1000:
        return f"{microseconds:.1f} us"
    return f"{microseconds / 1000:,.2f} ms"


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at it who sees what ``\\r`` does."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def knows_colours(stream: TextIO) -> bool:
    """Whether colours are shown, and wanted (no-color.org)."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def columns_of(stream: TextIO) -> int:
    """Return how many columns a terminal has; a file or pipe takes any."""
    if not stream.isatty():
        return UNLIMITED
    return os.get_terminal_size(stream.fileno()).columns or 80
