"""Import strings: ``"module:attribute"``, as on the command line and in settings of workers."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Tuple

from picows_codec import WSInvalidOptionError

__all__ = ["import_object", "split_import_string"]


def split_import_string(name: str, text: str) -> Tuple[str, str]:
    """Return module and attribute path; ``name`` is what the error calls the text."""
    module, colon, attribute = text.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        advice = ""
        if text.endswith(".py") or "/" in text:
            advice = "; the module is named as in an import, not by its file"
        raise WSInvalidOptionError(
            f"{name} must be an import string such as 'package.module:attribute', not"
            f" {text!r}{advice}"
        )
    return module, attribute


def import_object(name: str, text: str) -> Any:
    """Import what an import string names.

    Raises :class:`WSInvalidOptionError` if there is no such module or attribute. What the module
    raises itself passes through.
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
        ) from None
    for attribute in path.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            owner = getattr(found, "__name__", repr(found))
            raise WSInvalidOptionError(
                f"{name} is {text!r}, and {owner!r} has no attribute {attribute!r}"
            ) from None
    return found


def _search_path() -> str:
    """The first places where Python has looked."""
    places = [place or "." for place in sys.path[:3]]
    return ", ".join(repr(place) for place in places) + ", ..."
