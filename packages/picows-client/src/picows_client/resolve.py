"""Host names and addresses: resolving, sorting and naming them."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Dict, List, Sequence, Tuple

__all__ = ["AddressInfo", "describe", "explain", "numeric_addresses", "resolve"]

# What getaddrinfo returns: family, type, protocol, canonical name, address.
AddressInfo = Tuple[int, int, int, str, Tuple[object, ...]]


async def resolve(
    loop: asyncio.AbstractEventLoop, host: str, port: int, family: int
) -> List[AddressInfo]:
    """Find the addresses of ``host`` in the order in which they should be tried.

    Raises :class:`socket.gaierror` or another :class:`OSError` that names the host.
    """
    # An address needs no resolver, and so no thread of the loop's executor.
    found: Sequence[AddressInfo] = numeric_addresses(host, port, family)
    if not found:
        try:
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise socket.gaierror(
                error.errno, f"cannot resolve {host!r}: {error.strerror}"
            ) from error
        except OSError as error:  # the machine's, for example: no descriptors left
            raise explain(error, f"cannot resolve {host!r}") from error
    return _interleave_families(list(dict.fromkeys(found)))


def numeric_addresses(host: str, port: int, family: int) -> Tuple[AddressInfo, ...]:
    """Return the address if ``host`` is a numeric one, else nothing; asks no resolver."""
    # Not kept with a zone, because the number of its interface may change.
    lookup = _look_up_numeric.__wrapped__ if "%" in host else _look_up_numeric
    return lookup(host, port, family)


@lru_cache(maxsize=256)
def _look_up_numeric(host: str, port: int, family: int) -> Tuple[AddressInfo, ...]:
    try:
        return tuple(
            socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        )
    except socket.gaierror:
        return ()


def describe(info: AddressInfo) -> str:
    """Name an address in a message."""
    return f"{info[4][0]} port {info[4][1]}"


def explain(error: OSError, what: str) -> OSError:
    """Make an error of the same class and number that says what failed."""
    if error.errno is None:
        return OSError(f"{what}: {error}")
    # OSError picks the subclass that fits the number.
    return OSError(error.errno, f"{what}: {os.strerror(error.errno)}")


def _interleave_families(infos: Sequence[AddressInfo]) -> List[AddressInfo]:
    # RFC 8305, 4: the resolver's order, but a family that is cut off must not block the other.
    families: Dict[int, List[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info[0], []).append(info)
    alternating = chain.from_iterable(zip_longest(*families.values()))
    return [info for info in alternating if info is not None]
