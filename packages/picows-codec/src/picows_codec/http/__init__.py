"""HTTP/1.1 as far as the opening handshake needs it (RFC 9110, 9112; RFC 6455, 4). Private tier."""
