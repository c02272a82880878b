"""Who may ask the local server: a browser that was given the token, about this machine, from this server's own pages."""

from __future__ import annotations

import hmac
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final

from kedro_otel import guard

if TYPE_CHECKING:
    from email.message import Message

_HOST: Final = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
"""Any port: an SSH tunnel may have another one."""

_SITES: Final = (None, "none", "same-origin")


class Access:
    """A token for the first address, and the cookie that a browser gets for it."""

    def __init__(self) -> None:
        """Make both of 256 random bits."""
        self.token = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self._once: set[str] = set()
        self._name = f"kedro_otel_{secrets.token_hex(4)}"

    @property
    def cookie(self) -> str:
        """The header that sets the cookie: no script reads it, no other site's request has it."""
        return f"{self._name}={self._secret}; Path=/; HttpOnly; SameSite=Lax"

    def one_time(self) -> str:
        """Return a token that opens once: for a program's arguments, which other users of the machine can read."""
        token = secrets.token_urlsafe(32)
        self._once.add(token)
        return token

    def opens(self, token: str) -> bool:
        """Return whether this is the token, or one for one time, which it then was."""
        try:
            self._once.remove(token)
        except KeyError as error:
            guard.let_through(error)
        else:
            return True
        return hmac.compare_digest(token.encode(), self.token.encode())

    def knows(self, headers: Message) -> bool:
        """Return whether a request has the cookie."""
        try:
            cookies = SimpleCookie(headers.get("Cookie", ""))
        except CookieError as error:
            guard.let_through(error)
            return False
        found = cookies.get(self._name)
        return found is not None and hmac.compare_digest(
            found.value.encode(), self._secret.encode()
        )


def stranger(headers: Message) -> str:
    """Return why a request is not from this server's own pages, or from an address typed or opened; "" where it is.

    A name that another site lets point to this machine is in ``Host``; another site's page is in
    ``Origin`` or, where a browser sends it, in ``Sec-Fetch-Site``.
    """
    host = headers.get("Host", "")
    if not _HOST.fullmatch(host):
        return "the address is not this machine's"
    if headers.get("Origin") not in (None, f"http://{host}"):
        return "another site's page asks"
    site, mode = headers.get("Sec-Fetch-Site"), headers.get("Sec-Fetch-Mode")
    if site not in _SITES and mode != "navigate":
        return "another site's page asks"
    return ""
