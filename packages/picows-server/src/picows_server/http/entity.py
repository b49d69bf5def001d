"""What is said of a page or a file besides its bytes: content type, validator (RFC 9110, 8)."""

from __future__ import annotations

import re
from mimetypes import MimeTypes
from typing import Iterable, List, Mapping, Tuple, Union

from picows_codec import WSUpgradeRequest

__all__ = [
    "EntityHeaders",
    "content_type_of",
    "entity_headers",
    "header_pairs",
    "is_unchanged",
    "tag_of",
]

EntityHeaders = Union[Mapping[str, str], Iterable[Tuple[str, str]], None]

# The table of the standard library alone, so that every machine gives the same types, and nothing
# is read while serving.
_TYPES = MimeTypes()

_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\U0010ffff]*")')
_IN_UTF_8 = ("application/javascript", "application/json", "image/svg+xml")


def content_type_of(name: str) -> str:
    """The content type of a file by its name; text is taken for UTF-8."""
    kind, encoding = _TYPES.guess_type(name)
    if encoding is not None:
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    if kind is None:
        return "application/octet-stream"
    is_text = kind.startswith("text/") or kind in _IN_UTF_8
    return f"{kind}; charset=utf-8" if is_text else kind


def entity_headers(tag: str, content_type: str, extra: EntityHeaders) -> List[Tuple[str, str]]:
    """Headers of a response with a body. ``tag`` has its quotes; ``extra`` may replace others.

    A cache asks whether the body has changed each time that it uses it.
    """
    headers = [
        ("Content-Type", content_type),
        ("ETag", tag),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    pairs = header_pairs(extra)
    replaced = {name.lower() for name, _ in pairs}
    return [pair for pair in headers if pair[0].lower() not in replaced] + pairs


def header_pairs(headers: EntityHeaders) -> List[Tuple[str, str]]:
    """A user's headers, which may come from an iterator, to be used more than once."""
    if headers is None:
        return []
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def tag_of(headers: Iterable[Tuple[str, str]]) -> str:
    """The ETag among the headers of a response, which may be a user's."""
    return next(value for name, value in headers if name.lower() == "etag")


def is_unchanged(request: WSUpgradeRequest, tag: str) -> bool:
    """Whether the client has what ``tag`` stands for (RFC 9110, 13.1.2)."""
    value = ",".join(request.headers.getall("If-None-Match", []))
    if value.strip(" \t") == "*":
        return True
    opaque = tag[2:] if tag.startswith("W/") else tag  # they are compared weakly
    return any(found[1] == opaque for found in _TAG.finditer(value))
