"""Addresses in settings: which of them are of this machine, and which URLs name a server."""

import ipaddress
from urllib.parse import urlsplit

URL_SCHEMES = ("http", "https")


def is_loopback(host: str) -> bool:
    """True where `host` can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def find_url_fault(url: str) -> str | None:
    """Return why a text is no URL of a server that carries no secret; None where it is one."""
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in URL_SCHEMES or not has_host:
        return "does not begin with http:// or https:// and a host"
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password"
    if parts.query or parts.fragment:
        return "has a part after ? or #"
    return None


def find_chroma_fault(url: str, token: str | None) -> str | None:
    """Return why a Chroma server can't be used with a token; None where it can.

    Args:
        url: Address of the server, with tenant and database as its path if they are not the default ones.
        token: What is shown to the server.
    """
    if fault := find_url_fault(url):
        # the URL itself is not repeated: what is wrong with it may be a password
        return f"chroma_url {fault}"
    parts = urlsplit(url)
    names = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if len(names) not in (0, 2) or "" in names:
        return "chroma_url has another path than /TENANT/DATABASE"
    if token is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return "chroma_url must begin with https:// where a token is sent to another machine"
    return None
