"""Who somebody is and what they may do: owners and guests. Knows requests' headers, no page and no server.

Four policies, chosen at the start of the app:
open      only this computer's user can reach the app: everybody is an owner
guests    others can reach it and there are no accounts: everybody is a guest
accounts  owners sign in with a name and a password; everybody else is a guest
space     on Hugging Face Spaces: the Space's owner, or who may write in its organisation, signs in there
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmdemo.access.hosts import host_name, is_loopback
from llmdemo.access.passwords import hash_password, verify_password

OWNER, GUEST = "owner", "guest"
_MAY_OWN = ("admin", "write")


@dataclass(frozen=True)
class Visitor:
    """One who asks for something."""

    role: str
    """OWNER or GUEST."""
    key: str
    """Tells one visitor from another where turns and limits are shared out."""
    address: str = ""
    """Where the request came from: a limit's last resort, as it may be a whole school's."""
    name: str = ""
    """The name of the account; empty where nobody had to sign in."""
    policy: str = "open"
    """The app's policy; a guest of an "open" app asked for it by a name that is not this computer's."""

    @property
    def is_owner(self) -> bool:
        return self.role == OWNER

    @property
    def identity(self) -> str:
        """Who may have what this visitor made: the account, the guest's cookie, without either the address.

        Where nobody signs in, the one owner is who sits at this computer, in whatever browser or script.
        """
        if self.is_owner:
            return f"owner {self.name}"
        return self.key or f"address {self.address}"


@dataclass(frozen=True)
class Access:
    """How the app tells owners from guests."""

    policy: str = "open"
    """One of "open", "guests", "accounts", "space"."""
    accounts: dict[str, str] = field(default_factory=dict, repr=False)
    """Name → hashed password, for "accounts"."""
    space_owner: str = ""
    """The user or organisation that owns the Space, for "space"."""

    @property
    def has_guests(self) -> bool:
        """Whether somebody who is no owner is expected to come."""
        return self.policy != "open"

    @property
    def has_owners(self) -> bool:
        return self.policy != "guests"

    def sign_in(self, name: str, password: str) -> bool:
        """Whether this is an account's name and password; takes as long when there is no such account."""
        known = self.accounts.get(name)
        return verify_password(password, known or _decoy()) and known is not None

    def stamp(self, name: str) -> str | None:
        """What a session of `name` is tied to: it changes with the password. None when there is no such account."""
        known = self.accounts.get(name)
        return hashlib.sha256(known.encode()).hexdigest()[:16] if known else None

    def role(self, host: str, signed_in: str = "", space_user: Mapping[str, Any] | None = None) -> str:
        """OWNER or GUEST for one request: the Host it asked for, the account that it proved, its Hugging Face user."""
        if self.policy == "open":
            return OWNER if names_this_computer(host) else GUEST
        if self.policy == "accounts":
            return OWNER if signed_in in self.accounts else GUEST
        if self.policy == "space" and space_user and self.space_owner:
            return OWNER if _owns(space_user, self.space_owner) else GUEST
        return GUEST


def names_this_computer(host: str) -> bool:
    """Whether a Host header ("localhost:7860", "[::1]") names the loopback of this computer.

    A page of another site can make its own name lead to 127.0.0.1 (DNS rebinding); its requests then pass every check
    of origin, but still carry that name.
    """
    return is_loopback(host_name(host))


def space_access(env: Mapping[str, str] = os.environ) -> Access:
    """The policy on a Hugging Face Space: its owner signs in where OAuth is set up, else there are guests only."""
    owner = env.get("SPACE_AUTHOR_NAME") or env.get("SPACE_ID", "").partition("/")[0]
    if owner and env.get("OAUTH_CLIENT_ID") and env.get("OAUTH_CLIENT_SECRET"):
        return Access("space", space_owner=owner)
    return Access("guests")


def _owns(user: Mapping[str, Any], owner: str) -> bool:
    """Whether the OpenID user info is the owner's, or that of somebody who may write in the owning organisation."""
    if _same(user.get("preferred_username"), owner):
        return True
    orgs = user.get("orgs")
    return any(
        isinstance(org, Mapping) and _same(org.get("preferred_username"), owner) and org.get("roleInOrg") in _MAY_OWN
        for org in (orgs if isinstance(orgs, list) else [])
    )


def _same(name: object, owner: str) -> bool:
    return isinstance(name, str) and name.casefold() == owner.casefold()


_decoys: list[str] = []


def _decoy() -> str:
    """A hash that no password of a visitor fits, so that an unknown name takes the time of a known one."""
    if not _decoys:
        _decoys.append(hash_password(os.urandom(16).hex()))
    return _decoys[0]
