"""Negotiation of permessage-deflate: the client's offer, the server's answer (RFC 7692, 5 and 7).

A server takes the first offer that it can accept, and declines one with an unknown parameter, a
wrong value or a duplicate. A client fails the connection for such an answer (RFC 7692, 5.1, 7).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from picows_codec.deflate.parameters import WSPermessageDeflate

__all__ = ["Agreement", "accept_answer", "accept_offers", "offer_of", "parse_extensions"]

NAME = "permessage-deflate"
MAX_WINDOW_BITS = 15
# The largest window to compress with where this side sets no limit: see WSPermessageDeflate.
_SERVER_DEFAULT = 13
_CLIENT_DEFAULT = MAX_WINDOW_BITS

_SERVER_BITS = "server_max_window_bits"
_CLIENT_BITS = "client_max_window_bits"
_SERVER_ALONE = "server_no_context_takeover"
_CLIENT_ALONE = "client_no_context_takeover"

Parameters = List[Tuple[str, Optional[str]]]

# RFC 6455, 9.1: names and values are tokens, and a quoted value is one once it is unquoted.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(
    rf"[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*(?:({_WORD})|\"((?:[^\"\\]|\\.)*)\"))?"
)
_NAME = re.compile(rf"[ \t]*({_WORD})")
_NEXT = re.compile(r"[ \t]*(?:,|$)")
_QUOTED_PAIR = re.compile(r"\\(.)")
_BITS = re.compile(r"(?:8|9|1[0-5])", re.ASCII)


class Agreement(NamedTuple):
    """What both sides agreed on, as one of them sees it.

    ``send_bits`` and ``receive_bits``: window bits, ``send_alone`` and ``receive_alone``: without
    context takeover. ``send_bits`` is 0 if this side sends nothing compressed.
    """

    send_bits: int
    receive_bits: int
    send_alone: bool
    receive_alone: bool
    parameters: WSPermessageDeflate


# Few are different, and every connection keeps one.
_agreement = lru_cache(maxsize=256)(Agreement)


def parse_extensions(value: str) -> List[Tuple[str, Parameters]]:
    """Return names and parameters of a Sec-WebSocket-Extensions list; ValueError if it is none."""
    found: List[Tuple[str, Parameters]] = []
    position = 0
    while position < len(value):
        empty = _NEXT.match(value, position)
        if empty is not None:
            position = max(empty.end(), position + 1)
            continue
        name = _NAME.match(value, position)
        if name is None:
            raise ValueError("no token where an extension's name is wanted")
        position = name.end()
        parameters: Parameters = []
        while True:
            parameter = _PARAMETER.match(value, position)
            if parameter is None:
                break
            position = parameter.end()
            text = parameter[2]
            if parameter[3] is not None:
                text = _QUOTED_PAIR.sub(r"\1", parameter[3])
                if re.fullmatch(_WORD, text) is None:
                    raise ValueError("a quoted value is no token")
            parameters.append((parameter[1], text))
        end = _NEXT.match(value, position)
        if end is None:
            raise ValueError("something else than a parameter follows an extension")
        position = end.end()
        found.append((name[1], parameters))
    return found


def offer_of(parameters: WSPermessageDeflate) -> str:
    """Return the value of a client's Sec-WebSocket-Extensions header."""
    parts = [NAME]
    if parameters.server_no_context_takeover:
        parts.append(_SERVER_ALONE)
    if parameters.client_no_context_takeover:
        parts.append(_CLIENT_ALONE)
    if parameters.server_max_window_bits is not None:
        parts.append(f"{_SERVER_BITS}={parameters.server_max_window_bits}")
    if parameters.client_max_window_bits is None:
        parts.append(_CLIENT_BITS)
    else:
        parts.append(f"{_CLIENT_BITS}={parameters.client_max_window_bits}")
    return "; ".join(parts)


def accept_offers(
    values: Iterable[str], parameters: WSPermessageDeflate
) -> Optional[Tuple[str, Agreement]]:
    """Return a server's answer to the first offer that it accepts, or None.

    Raises ValueError for a header that is no list of extensions (RFC 6455, 9.1).
    """
    offers = [offer for value in values for offer in parse_extensions(value)]
    for name, given in offers:
        if name == NAME:
            try:
                offer = _checked(given, is_offer=True)
            except ValueError:
                continue  # RFC 7692, 7: "A server MUST decline an extension negotiation offer"
            return _answer(offer, parameters)
    return None


def _answer(
    offer: Dict[str, Optional[int]], parameters: WSPermessageDeflate
) -> Tuple[str, Agreement]:
    parts = [NAME]
    server_alone = _SERVER_ALONE in offer or parameters.server_no_context_takeover
    client_alone = parameters.client_no_context_takeover or _CLIENT_ALONE in offer
    if server_alone:
        parts.append(_SERVER_ALONE)
    if client_alone:
        parts.append(_CLIENT_ALONE)
    server_bits = _smaller(offer.get(_SERVER_BITS), parameters.server_max_window_bits)
    if server_bits is not None:
        parts.append(f"{_SERVER_BITS}={server_bits}")
    client_bits = None
    if _CLIENT_BITS in offer:  # 7.1.2.2: only then may the answer have it
        client_bits = _smaller(offer[_CLIENT_BITS], parameters.client_max_window_bits)
        if client_bits is not None:
            parts.append(f"{_CLIENT_BITS}={client_bits}")
    return "; ".join(parts), _agreement(
        _usable(server_bits, parameters.server_max_window_bits, _SERVER_DEFAULT),
        client_bits or MAX_WINDOW_BITS,
        server_alone,
        client_alone,
        parameters,
    )


def accept_answer(values: Iterable[str], parameters: WSPermessageDeflate) -> Agreement:
    """Return what a server's answer agrees on; ValueError says what is wrong with it."""
    answers = [answer for value in values for answer in parse_extensions(value)]
    if len(answers) != 1 or answers[0][0] != NAME:
        raise ValueError(f"must name {NAME}, which was offered, once and nothing else")
    answer = _checked(answers[0][1], is_offer=False)
    if parameters.server_no_context_takeover and _SERVER_ALONE not in answer:
        raise ValueError(f"must have {_SERVER_ALONE}, which was offered (RFC 7692, 7.1.1.1)")
    asked = parameters.server_max_window_bits
    server_bits = answer.get(_SERVER_BITS)
    if asked is not None and (server_bits is None or server_bits > asked):
        raise ValueError(f"must have {_SERVER_BITS} of at most {asked} (RFC 7692, 7.1.2.1)")
    send_bits = 0
    if parameters.client_compresses:
        # 7.2.1: the server may ignore the client's hint, and agree on a larger window or on none. A
        # client that gave it keeps to it.
        asked = parameters.client_max_window_bits
        send_bits = _usable(_smaller(answer.get(_CLIENT_BITS), asked), asked, _CLIENT_DEFAULT)
    return _agreement(
        send_bits,
        server_bits or MAX_WINDOW_BITS,
        parameters.client_no_context_takeover or _CLIENT_ALONE in answer,
        _SERVER_ALONE in answer,
        parameters,
    )


def _checked(given: Parameters, *, is_offer: bool) -> Dict[str, Optional[int]]:
    """The parameters by name, numbers for window bits; ValueError for what RFC 7692, 7 refuses."""
    found: Dict[str, Optional[int]] = {}
    for name, value in given:
        if name in found:
            raise ValueError(f"must not have {name} twice (RFC 7692, 7.1)")
        if name in {_SERVER_ALONE, _CLIENT_ALONE}:
            if value is not None:
                raise ValueError(f"must not have a value of {name} (RFC 7692, 7.1.1)")
            found[name] = None
        elif name in {_SERVER_BITS, _CLIENT_BITS}:
            if value is None and is_offer and name == _CLIENT_BITS:
                found[name] = None
            elif value is None or _BITS.fullmatch(value) is None:
                raise ValueError(f"must have {name} of 8 to 15 (RFC 7692, 7.1.2)")
            else:
                found[name] = int(value)
        else:
            raise ValueError("must not have an unknown parameter (RFC 7692, 7.1)")
    return found


def _smaller(one: Optional[int], other: Optional[int]) -> Optional[int]:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _usable(bits: Optional[int], own: Optional[int], default: int) -> int:
    """The window to compress with, 0 for one that zlib cannot make."""
    if bits is None:
        return default
    if bits == 8:
        return 0
    return bits if own is not None else min(bits, default)
