"""A server and a client on this machine: plain, TLS, coroutines, compressed messages, a burst."""
