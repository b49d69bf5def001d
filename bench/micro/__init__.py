"""Measurements without sockets: kernels, parser, handshake; and instructions per message."""
