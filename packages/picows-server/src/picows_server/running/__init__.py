"""A server as a process: ``run``, ``python -m picows_server``, signals, service managers."""
