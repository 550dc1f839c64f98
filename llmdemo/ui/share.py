"""Whether a share link can be made at all, found out before anything else. Knows no page.

Gradio asks its server for a tunnel and fetches a program that opens it, with up to half a minute for each, and says
what failed only then.
"""

import os
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_SERVER = "https://api.gradio.app"
_SECONDS = 5.0


def why_no_link(seconds: float = _SECONDS) -> str:
    """Why no share link can be made from here, as a sentence; "" when Gradio's server (or the proxy before it) answers."""
    host, port = _where()
    answer: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
            answer.append("")
        except (OSError, ValueError) as error:
            answer.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=connect, daemon=True)  # a name look-up alone cannot be given a time limit
    thread.start()
    thread.join(seconds)
    reason = answer[0] if answer else f"no answer within {seconds:.0f} seconds"
    if not reason:
        return ""
    return f"No share link can be made: {host}, which would make it, cannot be reached from here ({reason})."


def _where() -> tuple[str, int]:
    """(host, port) of the first thing that a tunnel needs."""
    own = os.environ.get("GRADIO_SHARE_SERVER_ADDRESS")
    url = urlsplit(f"//{own}" if own else _SERVER)
    proxy = getproxies().get("https")
    if proxy and not own and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or 443
