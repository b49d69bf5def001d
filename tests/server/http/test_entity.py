"""picows_server.http.entity: content types, headers and validators."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Dict

import pytest
from multidict import CIMultiDict

from picows_server.http.entity import content_type_of, entity_headers, is_unchanged


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("INDEX.HTM", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("data.json", "application/json; charset=utf-8"),
        ("logo.svg", "image/svg+xml; charset=utf-8"),
        ("photo.png", "image/png"),
        ("code.wasm", "application/wasm"),
        ("all.tar.gz", "application/gzip"),
        ("all.tar.xz", "application/octet-stream"),
        ("unknown.xyzzy", "application/octet-stream"),
        ("README", "application/octet-stream"),
    ],
)
def test_content_types(name: str, kind: str) -> None:
    assert content_type_of(name) == kind


def test_javascript() -> None:
    # application/javascript until Python 3.12, text/javascript from then on
    assert content_type_of("app.js").endswith("/javascript; charset=utf-8")


@pytest.mark.parametrize("as_pairs", [True, False])
def test_extra_headers_replace(as_pairs: bool) -> None:
    given: Dict[str, str] = {"cache-control": "max-age=60", "X-A": "1"}
    headers = entity_headers('"t"', "text/plain", list(given.items()) if as_pairs else given)
    assert sorted(headers) == [
        ("Content-Type", "text/plain"),
        ("ETag", '"t"'),
        ("X-A", "1"),
        ("X-Content-Type-Options", "nosniff"),
        ("cache-control", "max-age=60"),
    ]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (['"t"'], True),
        (['W/"t"'], True),
        (['"a", W/"t" ,"b"'], True),
        (['"a"', '"t"'], True),
        (["*"], True),
        ([" * "], True),
        (['"a"'], False),
        (['"tt"'], False),
        (["t"], False),
        (['"t'], False),
        (['w/"x"'], False),
        ([""], False),
        ([], False),
    ],
)
def test_validators(values: Any, found: bool) -> None:
    request: Any = SimpleNamespace(headers=CIMultiDict([("If-None-Match", v) for v in values]))
    assert is_unchanged(request, '"t"') is found
