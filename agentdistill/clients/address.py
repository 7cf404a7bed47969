"""Addresses of endpoints."""

from __future__ import annotations

from urllib.parse import urlsplit


def base_address(url: str, ending: str) -> str:
    """Checks the base address of an endpoint and takes a slash off its end.

    Args:
        url: the address.
        ending: what requests append to it, e.g. "/completions".

    Raises:
        ValueError: it is none, holds a secret, or ends in `ending` already.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f'an address begins with http:// or https:// and names a host, got "{_shown(url)}"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "an address holds no user, password or query, because addresses are logged; put the key into an "
            "environment variable and name it with key_variable"
        )
    if parts.path.rstrip("/").endswith(ending):
        raise ValueError(f"give the base address, without {ending}")
    return url.rstrip("/")


def _shown(url: str) -> str:
    """An address that cannot be read, without what may be a password."""
    return url.rpartition("@")[2][:80]
