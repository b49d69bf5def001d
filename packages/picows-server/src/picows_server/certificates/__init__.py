"""Certificates of a running server: where they come from, and new ones in place of old ones."""
