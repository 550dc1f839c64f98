"""Which address and which key an OpenAI-compatible endpoint may have: every reason to refuse one is a sentence.

What can be told from the words alone (`parsed_url`, `checked_key`) is told before any model runs; what takes the name
service (`checked_url`) is told when the endpoint is first asked. Addresses that are nobody's to ask (cloud metadata,
link-local) are refused, and a key does not travel unencrypted to another network. Asks no endpoint.
"""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmdemo.core.errors import UserError
from llmdemo.core.sentences import say

_NOBODYS = ("metadata.google.internal", "metadata", "instance-data")
_EXAMPLE = say("endpoint_example")


class EndpointFailed(UserError):
    """The endpoint cannot be asked; what it said before stays."""


@dataclass(frozen=True)
class Address:
    """Where an endpoint is asked."""

    url: str
    """Of the chat completions."""
    host: str
    port: int
    encrypted: bool


def checked_key(key: str) -> str:
    """The key without blanks around it, as it goes into a header. Raises EndpointFailed, in whose words it is not."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise EndpointFailed(
            say("endpoint_key"),
            say("endpoint_key_hint"),
        )
    return key


def parsed_url(url: str, with_key: bool) -> Address:
    """The address that `url` names, as far as its words tell; knows no name service. Raises EndpointFailed."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a bracket that is not closed, a port that is no number
        raise EndpointFailed(say("endpoint_no_url", url=repr(_shown(url))), _EXAMPLE) from None
    if parts.scheme not in ("http", "https") or not host:
        raise EndpointFailed(say("endpoint_no_url", url=repr(_shown(url))), _EXAMPLE)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise EndpointFailed(say("endpoint_url_secret"), say("endpoint_url_secret_hint"))
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    whole = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
    encrypted = parts.scheme == "https"
    address = Address(whole, host, port or (443 if encrypted else 80), encrypted)
    _check(address, _literal(host), with_key)
    return address


def checked_url(url: str, with_key: bool) -> tuple[str, bool]:
    """(address of the chat completions, whether it is on this computer or network). Raises EndpointFailed."""
    address = parsed_url(url, with_key)
    found = _addresses(address.host, address.port)
    _check(address, found, with_key)
    local = _are_local(found)
    if with_key and not address.encrypted and not local:
        raise _unencrypted()
    return address.url, local


def _check(address: Address, found: list, with_key: bool) -> None:
    """Raises EndpointFailed where one of the addresses `found` for the host, perhaps none, may not be asked."""
    if address.host.lower().rstrip(".") in _NOBODYS or any(map(_is_nobodys, found)):
        raise EndpointFailed(say("endpoint_url_forbidden", host=address.host), say("endpoint_url_forbidden_hint"))
    if with_key and found and not address.encrypted and not _are_local(found):
        raise _unencrypted()


def _unencrypted() -> EndpointFailed:
    return EndpointFailed(say("endpoint_unencrypted"), say("endpoint_unencrypted_hint"))


def _literal(host: str) -> list:
    """The address that a host's name itself is, as a list of one; empty for a name."""
    try:
        return [ipaddress.ip_address(host.partition("%")[0])]
    except ValueError:
        return []


def _addresses(host: str, port: int) -> list:
    try:
        return [
            ipaddress.ip_address(str(found[4][0]).partition("%")[0])
            for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ]
    except (OSError, ValueError, UnicodeError):
        return []  # behind a proxy this computer may not know the name; the call itself says so if nobody does


def _are_local(found: list) -> bool:
    return bool(found) and all(address.is_private or address.is_loopback for address in found)


def _is_nobodys(address) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_loopback:
        return False
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified or plain.is_reserved


def _shown(url: str) -> str:
    """The address without a password that may stand in it."""
    return url.strip().rpartition("@")[2][:80]
