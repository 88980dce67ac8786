"""Access control."""

import hmac
import ipaddress
import secrets
from typing import Final

SHORTEST_TOKEN: Final = 16


def new_token() -> str:
    """A new token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def checked_token(token: str | None) -> str | None:
    """The argument `token`, checked; TypeError or ValueError if it is not valid."""
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError(f"token must be a str, not {type(token).__name__}")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        # The token itself must not appear in an error.
        raise ValueError(f"token must be at least {SHORTEST_TOKEN} printable ASCII characters without a space")
    return token


def has_token(authorization: str, token: str) -> bool:
    """Whether a request's Authorization header contains the token, compared in constant time."""
    scheme, _, sent = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())


def is_loopback(address: str) -> bool:
    """Whether an address, or the name `localhost`, is this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def is_for_loopback(host: str) -> bool:
    """Whether a request's Host header names this machine as a loopback address or `localhost`. Protects from DNS rebinding:
    a foreign page can make its own host name resolve to this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return is_loopback(name)


def is_of_proxy(header: str) -> bool:
    """Whether a header, by its lower-case name, is one that proxies add."""
    return header in ("forwarded", "via", "x-real-ip") or header.startswith("x-forwarded-")
