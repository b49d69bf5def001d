"""``page``: one file, kept in memory."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path
from typing import List, Optional, Tuple, Union
from urllib.parse import unquote

from picows_codec import WSUpgradeRequest, WSUpgradeResponse
from picows_server.http.download import PIECE, FileDownload, FileResponse, logger_of
from picows_server.http.entity import (
    EntityHeaders,
    content_type_of,
    entity_headers,
    is_unchanged,
    tag_of,
)
from picows_server.routing import MountedHandler, target_path

__all__ = ["Page", "page"]


class Page(MountedHandler):
    """What :func:`page` returns; it may also be called by a handler of yours."""

    def __init__(
        self, name: str, content: bytes, headers: List[Tuple[str, str]], path: str = ""
    ) -> None:
        self._name = name
        self._content = content
        self._headers = headers
        self._tag = tag_of(headers)
        self._path = path
        body = content if len(content) <= PIECE else None
        self._response = WSUpgradeResponse.create_ok_response(body, headers)

    def __repr__(self) -> str:
        return f"page({self._name!r})"

    def mounted_at(self, path: str) -> Page:
        """Return the handler for this path."""
        return Page(self._name, self._content, self._headers, unquote(path))

    def __call__(self, request: WSUpgradeRequest) -> FileResponse:
        """Respond to a request."""
        if self._path.endswith("/") and unquote(target_path(request.path)) != self._path:
            return None
        if is_unchanged(request, self._tag):
            return WSUpgradeResponse.create_response(304, None, self._headers)
        size = len(self._content)
        if size <= PIECE:
            return self._response
        return FileDownload(
            self._response,
            BytesIO(self._content),
            size,
            is_head=request.method == "HEAD",
            logger=logger_of(request),
        )


def page(
    path: Union[str, os.PathLike[str]],
    *,
    content_type: Optional[str] = None,
    extra_headers: EntityHeaders = None,
) -> Page:
    """Serve one file: a handler for a mapping of paths.

    The file is read now and kept in memory, so a server that cannot open files any more serves it,
    and does not see when it changes. A large one is sent in pieces, as by :func:`files`. Under a
    path with a trailing slash it is served for exactly this path; the response to what is below is
    404.

    ``content_type``: by default what the name of the file says, with ``charset=utf-8`` for text.

    ``extra_headers``: a mapping or pairs. By default responses have ``Cache-Control: no-cache``,
    and an ETag with which a client learns that nothing has changed (304).

    Raises :class:`OSError` if the file cannot be read, and :class:`WSInvalidOptionError` for
    headers that cannot be sent.
    """
    file = Path(path)
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = entity_headers(tag, content_type or content_type_of(file.name), extra_headers)
    return Page(str(file), content, headers)
