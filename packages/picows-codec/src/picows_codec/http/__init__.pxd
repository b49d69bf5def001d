"""HTTP/1.1 as the opening handshake needs it (RFC 9110, RFC 9112, RFC 6455, 4). Private tier."""
