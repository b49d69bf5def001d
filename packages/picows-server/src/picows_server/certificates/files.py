"""``CertificateFiles``: a certificate and its key in PEM files, and what they held."""

from __future__ import annotations

import os
import ssl
from typing import Callable, NamedTuple, Optional, Union

from picows_codec import WSInvalidOptionError

__all__ = [
    "CertificateFiles",
    "Contents",
    "Password",
    "Path",
    "check_path",
    "check_readable",
    "known_files",
    "load_certificate",
]

Path = Union[str, "os.PathLike[str]"]
Password = Union[str, bytes, bytearray, Callable[[], Union[str, bytes, bytearray]]]

# The attribute of an ssl.SSLContext with what was loaded into it.
_ATTRIBUTE = "_picows_certificate"


class Contents(NamedTuple):
    """What the files hold: the certificates, and the key or a None if it is among them."""

    certificates: bytes
    key: Optional[bytes]


class CertificateFiles:
    """``certfile``, ``keyfile`` and ``password`` as :func:`create_ssl_context` takes them.

    They are found again when the working directory has changed. ``mark`` is a number for what was
    loaded from them; it tells other contents from these. ``kind`` is that of the key.
    """

    __slots__ = ("_paths", "certfile", "keyfile", "kind", "mark", "password")

    def __init__(
        self, certfile: Path, keyfile: Optional[Path], password: Optional[Password]
    ) -> None:
        check_path("certfile", certfile)
        if keyfile is not None:
            check_path("keyfile", keyfile)
        self.certfile = certfile
        self.keyfile = keyfile
        self._paths = (
            os.path.abspath(certfile),
            None if keyfile is None else os.path.abspath(keyfile),
        )
        self.password = password
        self.mark: Optional[int] = None
        self.kind: Optional[str] = None

    def has_paths_of(self, other: CertificateFiles) -> bool:
        """Whether both name the same files."""
        return self._paths == other._paths

    def read(self) -> Contents:
        """Read both; raises :class:`OSError` with a file's name."""
        certfile, keyfile = self._paths
        with open(certfile, "rb") as file:
            certificates = file.read()
        if keyfile is None:
            return Contents(certificates, None)
        with open(keyfile, "rb") as file:
            return Contents(certificates, file.read())

    def note(self, contents: Contents) -> None:
        """These contents are in use now."""
        # The hash of bytes is keyed for each process, and says nothing about the key.
        self.mark = hash(contents)
        self.kind = _kind_of_key(contents.certificates)

    def load(
        self, context: ssl.SSLContext, certfile: Path, keyfile: Optional[Path], password: Password
    ) -> None:
        """Load two files with the contents of these into ``context``.

        Raises :class:`WSInvalidOptionError`, which names these files.
        """
        try:
            context.load_cert_chain(certfile, keyfile, password)
        except ssl.SSLError as error:
            key_source = self.certfile if self.keyfile is None else self.keyfile
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = f"the private key in {str(key_source)!r} does not belong to it"
            elif self.keyfile is None:
                problem = (
                    "it must hold a PEM certificate and its private key, unless keyfile (--ssl-key)"
                    " names another file for the key"
                )
            else:
                problem = (
                    f"no PEM certificate in it, no PEM private key in {str(self.keyfile)!r}, "
                    "or a wrong password"
                )
            raise WSInvalidOptionError(
                f"certfile {str(self.certfile)!r}: {problem} ({error.reason or error})"
            ) from error

    @property
    def password_or_refusal(self) -> Password:
        """The password; without one, a function that raises instead of asking at a terminal."""
        return self._refuse_to_prompt if self.password is None else self.password

    def _refuse_to_prompt(self) -> str:
        key_source = self.certfile if self.keyfile is None else self.keyfile
        raise WSInvalidOptionError(f"the private key in {str(key_source)!r} needs a password")


def load_certificate(context: ssl.SSLContext, files: CertificateFiles) -> None:
    """Load the files into ``context``, which remembers them; errors as of ``load``."""
    contents = files.read()
    files.load(context, files.certfile, files.keyfile, files.password_or_refusal)
    # If they were replaced between reading and loading, that is found when they are looked at.
    files.note(contents)
    setattr(context, _ATTRIBUTE, files)


def known_files(context: ssl.SSLContext) -> Optional[CertificateFiles]:
    """The files that ``load_certificate`` loaded into a context."""
    found: Optional[CertificateFiles] = getattr(context, _ATTRIBUTE, None)
    return found


def check_readable(name: str, path: Path) -> None:
    """Raise TypeError or OSError unless this is a file that can be read."""
    check_path(name, path)
    # ssl raises the same OSErrors without saying for which file.
    with open(path, "rb"):
        pass


def check_path(name: str, path: object) -> None:
    """Raise TypeError unless this is a path."""
    # open() would take a number for a descriptor, and close it.
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a str, bytes or path, not {type(path).__name__}")


# The identifiers of algorithms in a SubjectPublicKeyInfo, as DER (RFC 3279, 2.3).
_KINDS = {
    bytes.fromhex("06092a864886f70d010101"): "RSA",
    bytes.fromhex("06072a8648ce3d0201"): "ECDSA",
}
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def _kind_of_key(certificates: bytes) -> Optional[str]:
    _, begin, rest = certificates.decode("ascii", "replace").partition(_BEGIN)
    try:
        der = ssl.PEM_cert_to_DER_cert(f"{begin}{rest.partition(_END)[0]}{_END}\n")
    except ValueError:  # no certificate that OpenSSL would have taken in this form
        return None
    return next((kind for number, kind in _KINDS.items() if number in der), None)
