"""The names that this app answers to. Knows the Host header's grammar, no page and no server.

A page of another site can make its own name lead to this computer (DNS rebinding); its requests then come with that
name, and pass every check of origin. So a name that nobody gave to this app is refused, whatever the method. Addresses
(127.0.0.1, 10.0.0.7, [::1]) need not be named: no other site's page has one for its name.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from llmdemo.core.spaces import on_space

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9_.\-]*[a-z0-9_.])?))(?::([0-9]{1,5}))?", re.IGNORECASE)


def host_name(header: str) -> str:
    """The name in a Host header ("Localhost:7860" → "localhost", "[::1]:80" → "::1"); "" for what is no such header,
    as "localhost:7860@evil.example"."""
    match = _HOST.fullmatch(header)
    if match is None or int(match[3] or 0) > 65535:
        return ""
    return (match[1] or match[2]).lower().rstrip(".")


def is_address(name: str) -> bool:
    """Whether a host's name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a host's name means this computer, from itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return is_address(name) and ipaddress.ip_address(name).is_loopback


def origin_host(origin: str) -> str | None:
    """The "host:port" of an Origin or Referer; None for one that names none ("null") or is broken ("http://[::1")."""
    try:
        parts = urlsplit(origin)
        netloc = parts.netloc
    except ValueError:
        return None
    return netloc.lower() if parts.scheme in ("http", "https") and host_name(netloc) else None


class KnownHosts:
    """Names that are this app's own. `any_name` where something before the app has seen to that, a proxy or a Space;
    `proxied` where what such a thing says of a request is believed."""

    def __init__(self, names: Iterable[str] = (), any_name: bool = False, proxied: bool = False):
        self._names = {name for name in map(host_name, names) if name}
        self.any_name, self.proxied = any_name, proxied

    def add(self, name: str) -> None:
        """One more, known from now on: a share link's."""
        self._names.add(host_name(name))

    def has(self, header: str) -> bool:
        """Whether a Host header names this app."""
        name = host_name(header)
        return bool(name) and (self.any_name or self.is_own(header))

    def is_own(self, header: str) -> bool:
        """Whether this is one of the names that were given or that cannot lie, proxy or not."""
        name = host_name(header)
        return name in self._names or is_address(name) or is_loopback(name)


def known_hosts(own_names: Iterable[str], env: Mapping[str, str], behind_proxy: bool) -> KnownHosts:
    """The names from the settings (LLMDEMO_HOSTS), this computer's, and on a Space those that the hub gives it.

    Where a proxy stands before the app and no names are given, the proxy decides on them.
    """
    space = [name.strip() for name in env.get("SPACE_HOST", "").split(",")]
    names = {*own_names, *space, *_computer_names()}
    proxied = behind_proxy or on_space(env)
    return KnownHosts(names, any_name=proxied and not tuple(own_names), proxied=proxied)


def _computer_names() -> set[str]:
    """What others in the same network call this computer."""
    name = socket.gethostname().lower()
    return {name, f"{name.partition('.')[0]}.local"} - {".local"}
