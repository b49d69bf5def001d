"""What ``ws_create_server`` makes of its options about proxies."""

from __future__ import annotations

import functools
from typing import Callable, Iterable, Optional, Tuple

from picows_codec import WSInvalidOptionError, WSUpgradeRequest, WSUpgradeResponse
from picows_codec.http.upgrade import set_remote_address
from picows_server.connections import Connections
from picows_server.logs import Logger
from picows_server.proxies.connections import ProxiedConnections
from picows_server.proxies.forwarded import ForwardedHeader
from picows_server.proxies.networks import Network, TrustedNetworks
from picows_server.routing import Route, RouteResult, log_refusal

__all__ = ["behind_proxies"]


def behind_proxies(
    route: Route,
    logger: Logger,
    trusted_proxies: Iterable[Network],
    *,
    proxy_protocol: bool,
    forwarded_header: Optional[str],
) -> Tuple[Route, Callable[..., Connections]]:
    """Return the route, and what makes the connections, that learn of clients from proxies."""
    proxies = TrustedNetworks(trusted_proxies)
    if not proxy_protocol and forwarded_header is None:
        raise WSInvalidOptionError(
            "trusted_proxies needs proxy_protocol or forwarded_header, which say how proxies tell"
            " whom they serve"
        )
    if not proxies:
        given = "proxy_protocol" if proxy_protocol else "forwarded_header"
        raise WSInvalidOptionError(
            f"{given} needs trusted_proxies, which says where proxies are, such as ['10.0.0.0/8']"
        )
    make_connections: Callable[..., Connections] = Connections
    if proxy_protocol:
        make_connections = functools.partial(ProxiedConnections, proxies=proxies)
    if forwarded_header is not None:
        header = ForwardedHeader(forwarded_header, proxies)
        route = functools.partial(_route_by_client, header, route, logger)
    return route, make_connections


def _route_by_client(
    header: ForwardedHeader, route: Route, logger: Logger, request: WSUpgradeRequest
) -> RouteResult:
    try:
        client = header.client_of(request)
    except ValueError as error:
        log_refusal(logger, request, "400 Bad Request", f"header {header.name}: {error}")
        text = f"The {header.name} header is invalid.\n"
        return WSUpgradeResponse.create_error_response(400, text)
    set_remote_address(request, client)
    return route(request)
