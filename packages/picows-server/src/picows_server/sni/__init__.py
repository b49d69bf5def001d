"""Server Name Indication (RFC 6066, 3): a TLS context for each name that clients ask for."""
