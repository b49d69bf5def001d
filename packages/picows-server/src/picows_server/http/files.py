"""``files``: the files of a directory."""

from __future__ import annotations

import errno
import os
import re
import stat
from io import FileIO
from typing import List, Optional, Union
from urllib.parse import unquote, unquote_to_bytes

from picows_codec import WSInvalidOptionError, WSUpgradeRequest, WSUpgradeResponse
from picows_server.http.download import PIECE, FileDownload, FileResponse, logger_of
from picows_server.http.entity import (
    EntityHeaders,
    content_type_of,
    entity_headers,
    header_pairs,
    is_unchanged,
    tag_of,
)
from picows_server.logs import Logger
from picows_server.routing import MountedHandler, log_refusal, target_path

__all__ = ["Files", "files"]

_WELL_KNOWN = ".well-known"  # RFC 8615
# No FIFO is waited for, no link followed; no child process inherits the file.
_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY", "O_NOINHERIT"):
    _FLAGS |= getattr(os, _name, 0)

# A drive, a stream, a short or another name of the same file, a device
_OF_WINDOWS = re.compile(
    r"[:~]|[. ]$|^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\xb9\xb2\xb3])[ ]*(?:\.|$)",
    re.IGNORECASE,
)

# Names in a path, each of which costs a system call
_DEEPEST = 64

# Of this machine, not of the request.
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}

_BUSY = "The file cannot be read now.\n"


class Files(MountedHandler):
    """What :func:`files` returns; it may also be called by a handler of yours."""

    def __init__(self, directory: str, index: str, extra_headers: EntityHeaders, path: str) -> None:
        self._directory = directory
        self._index = index
        self._extra_headers = extra_headers
        self._path = path

    def __repr__(self) -> str:
        return f"files({self._directory!r})"

    def mounted_at(self, path: str) -> Files:
        """Return the handler for this path."""
        if not path.endswith("/"):
            raise ValueError(f"the path of {self!r} must have a trailing slash, for what is below")
        return Files(self._directory, self._index, self._extra_headers, path)

    def __call__(self, request: WSUpgradeRequest) -> FileResponse:
        """Respond to a request."""
        names = names_below(self._path, target_path(request.path), self._index)
        if names is None:
            return None
        logger = logger_of(request)
        try:
            return self._find(request, names, logger)
        except OSError as error:
            if error.errno not in _NO_RESOURCES:
                return None  # whatever it is: no link, no permission, a name that is too long
            log_refusal(logger, request, "503 Service Unavailable", str(error))
            return WSUpgradeResponse.create_error_response(503, _BUSY, {"Retry-After": "5"})
        except UnicodeEncodeError:  # the encoding of the file system is not UTF-8
            return None

    def _find(self, request: WSUpgradeRequest, names: List[str], logger: Logger) -> FileResponse:
        file = self._open(names)
        if file is None:
            return None
        try:
            return self._respond(request, file, names[-1], logger)
        except BaseException:
            file.close()
            raise

    def _open(self, names: List[str]) -> Optional[FileIO]:
        """Open the file; None if it lies elsewhere, or is no file."""
        directory = os.path.realpath(self._directory)
        path = os.path.realpath(os.path.join(directory, *names))
        try:
            if os.path.commonpath([directory, path]) != directory:
                return None
        except ValueError:  # on another drive
            return None
        file = FileIO(path, opener=_opener)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        return None

    def _respond(
        self, request: WSUpgradeRequest, file: FileIO, name: str, logger: Logger
    ) -> FileResponse:
        status = os.fstat(file.fileno())
        tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        headers = entity_headers(tag, content_type_of(name), self._extra_headers)
        if is_unchanged(request, tag_of(headers)):
            file.close()
            return WSUpgradeResponse.create_response(304, None, headers)
        if status.st_size <= PIECE:
            with file:
                return WSUpgradeResponse.create_ok_response(file.read(status.st_size), headers)
        return FileDownload(
            WSUpgradeResponse.create_ok_response(None, headers),
            file,
            status.st_size,
            is_head=request.method == "HEAD",
            logger=logger,
        )


def _opener(path: str, _: int) -> int:
    return os.open(path, _FLAGS)


def names_below(prefix: str, path: str, index: str) -> Optional[List[str]]:
    """The names of directories and file that a path has below ``prefix``; None: there is no file.

    Each name is decoded once (RFC 3986, 2.1). None that could lead elsewhere, that an operating
    system reads in its own way, or that is hidden, is a name of a file here.
    """
    above = [unquote(part) for part in prefix.split("/")[:-1]]
    parts = path.split("/")
    if [unquote(part) for part in parts[: len(above)]] != above or len(parts) == len(above):
        return None
    parts = parts[len(above) :]
    if not parts[-1]:
        parts[-1] = index
    names = [_name_of(part) for part in parts]
    found = [name for name in names if name is not None]
    return found if len(found) == len(names) <= _DEEPEST else None


def _name_of(part: str) -> Optional[str]:
    try:
        name = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not name or "/" in name or "\\" in name or not name.isprintable():
        return None
    if name.startswith(".") and name != _WELL_KNOWN:
        return None
    if os.name == "nt" and _OF_WINDOWS.search(name) is not None:
        return None
    return name


def files(
    directory: Union[str, os.PathLike[str]],
    *,
    index: str = "index.html",
    extra_headers: EntityHeaders = None,
) -> Files:
    """Serve the files of a directory and of those below: a handler for a mapping of paths.

    The path in the mapping must have a trailing slash. What is below it is the name of the file; a
    path that ends in a slash stands for ``index`` in that directory (``""``: for nothing). Links
    are followed as long as they stay within the directory. Hidden files (names with a leading dot,
    but for ``.well-known``) are not served, and no directory is listed: the response is 404.

    ``extra_headers``: a mapping or pairs. By default responses have ``Cache-Control: no-cache``,
    and an ETag (time and size of the file) with which a client learns that nothing has changed
    (304).

    Small files are read at once. Others are sent in pieces of 64 KiB as long as the write queue is
    below ``write_high_watermark``; a client that does not take what is queued within
    ``stall_timeout`` is disconnected. The loop waits for the disk meanwhile: for many or large
    files, and for ranges, let the proxy in front of the server send them.

    Raises :class:`NotADirectoryError` if there is no such directory, and
    :class:`WSInvalidOptionError` for headers that cannot be sent, and for an ``index`` that is no
    name of a file which is served.
    """
    if not isinstance(index, str):
        raise TypeError(f"index must be a str, not {type(index).__name__}")
    if index and _name_of(index) != index:
        raise WSInvalidOptionError(
            f"index must be the name of a file, not hidden and without a path, not {index!r}"
        )
    path = os.path.abspath(directory)
    if not os.path.isdir(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    extra = header_pairs(extra_headers)
    WSUpgradeResponse.create_ok_response(None, entity_headers('""', "text/plain", extra))
    return Files(path, index, extra, "/")
