"""Import strings: ``"module:attribute"``, as on the command line and in settings of workers."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Any, Tuple

from picows_codec import WSInvalidOptionError

__all__ = ["import_object", "split_import_string"]

_NOT_ITS_FILE = "; the module is named as in an import, not by its file"


def split_import_string(name: str, text: str, advice: str = "") -> Tuple[str, str]:
    """Return module and attribute path.

    ``name`` is what the error calls the text, ``advice`` what it says besides.
    """
    module, colon, attribute = text.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        if not advice and (text.endswith(".py") or "/" in text):
            advice = _NOT_ITS_FILE
        raise WSInvalidOptionError(
            f"{name} must be an import string such as 'package.module:attribute', not"
            f" {text!r}{advice}"
        )
    return module, attribute


def import_object(name: str, text: str) -> Any:
    """Import what an import string names.

    Raises :class:`WSInvalidOptionError` if there is no such module or attribute, or if the module
    calls ``sys.exit``. What it raises else passes through.
    """
    module_name, path = split_import_string(name, text)
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name
        if missing is None or not f"{module_name}.".startswith(f"{missing}."):
            raise  # a module that it imports
        raise WSInvalidOptionError(
            f"{name} is {text!r}, and there is no module {missing!r} in {_search_path()}"
            + (_NOT_ITS_FILE if module_name.endswith(".py") else "")
        ) from None
    except SystemExit as error:
        # Otherwise a program without a word, and with an exit status that may be that of success.
        raise WSInvalidOptionError(
            f"{name} is {text!r}, and importing {module_name!r} calls sys.exit({error.code!r}),"
            f" {_place_of(error, module_name)}; put what only a script does below"
            ' if __name__ == "__main__":'
        ) from error
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            owner = getattr(found, "__name__", repr(found))
            raise WSInvalidOptionError(
                f"{name} is {text!r}, and {owner!r} has no attribute {attribute!r}"
            ) from None
    return found


def _place_of(error: BaseException, module_name: str) -> str:
    """The line of the module, or of a package above it, in which this was raised."""
    frames = list(traceback.walk_tb(error.__traceback__))
    for frame, line in frames:
        if f"{module_name}.".startswith(f"{frame.f_globals.get('__name__')}."):
            return f"in line {line} of {frame.f_code.co_filename!r}"
    return f"in {frames[-1][0].f_code.co_filename!r}"


def _search_path() -> str:
    """The first places where Python has looked."""
    places = [place or "." for place in sys.path[:3]]
    return ", ".join(repr(place) for place in places) + ", ..."
