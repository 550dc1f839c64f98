"""Starts the server: who may do what, and one sentence when it cannot start. Knows no panel."""

import contextlib
import ipaddress
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from llmdemo.access.passwords import checked_name, hash_password, read_accounts
from llmdemo.access.people import Access, space_access
from llmdemo.core.errors import UserError
from llmdemo.core.heap import keep_freed
from llmdemo.core.imports import uncollected
from llmdemo.core.sentences import say
from llmdemo.core.spaces import on_space, on_zero_gpu
from llmdemo.core.store import Home
from llmdemo.settings import Settings

UPLOADS_SECONDS = 24 * 3600.0
"""How long an upload and a file to be downloaded are kept."""
_SHARE_SERVER = "https://api.gradio.app"
_SHARE_SECONDS = 5.0


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    share: bool = False,
    auth: Sequence[str] = (),
    auth_file: str | None = None,
) -> None:
    """Serves the page until Ctrl-C or SIGTERM. Raises UserError when an option, the port or the home cannot be used.

    `auth` holds owners as USER:PASSWORD, `auth_file` names a file of them with hashed passwords. Runs that train go on
    by themselves afterwards, unless the settings say otherwise; the next start finds them.
    """
    keep_freed()
    accounts = parse_accounts(auth, auth_file)
    _check_port(host, port)
    share = share and _can_share()
    access = choose_access(host, share, accounts)
    keep_uploads_at_home(Home(settings.home))
    if on_zero_gpu():
        from llmdemo.arena import zero_gpu  # noqa: F401  # `spaces` wants to know of it before the launch
    with uncollected():
        from llmdemo.jobs.spare import Spare
        from llmdemo.ui.app import build, launch_options
        from llmdemo.ui.services import make_services

    services = make_services(settings, access=access, spare=Spare())
    signal.signal(signal.SIGTERM, _interrupt)
    page = build(services)
    try:
        options = launch_options(services)
        local, public = launched(page, server_name=host, server_port=port, share=share, **options)
        _greet(services.access.policy, host, port, local, public, share)
        threading.Thread(target=_warm, args=(services,), name="warm", daemon=True).start()
        while page.is_running:  # Gradio's block_thread waits for open pages, five seconds, before it tells them
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is being done
        page.close(verbose=False)
        services.close()


def launched(page, **options) -> tuple[str, str | None]:
    """Launches a Blocks; its local address and the share link.

    Gradio gives its server five seconds to start and then asks it for the page, three seconds long, which may be too short
    on a busy machine: what had started is tried once more. Raises UserError.
    """
    for is_last in (False, True):
        try:
            _, local, public = page.launch(prevent_thread_lock=True, **options)
            return local, public
        except (OSError, ValueError) as error:
            had_started = page.is_running
            page.close(verbose=False)
            if not had_started and isinstance(error, ValueError):
                raise  # a mistake in the options
            if is_last or not had_started:
                where = f"{options.get('server_name')}:{options.get('server_port')}"
                raise UserError("err_server_late", where=where) from error
        print(say("note_server_late"), file=sys.stderr, flush=True)
    raise AssertionError("the last time returns or raises")


def keep_uploads_at_home(home: Home, env=os.environ) -> None:
    """Gradio shall keep files in the home folder: its own place, /tmp/gradio, may be another user's or another app's.

    To be called before Gradio is imported, which reads GRADIO_TEMP_DIR then; who starts the app may have set that.
    What is older than a day is deleted: Gradio deletes only what the same process has made.
    """
    folder = Path(env.setdefault("GRADIO_TEMP_DIR", str(home.uploads.absolute())))
    if folder.resolve() != home.uploads.resolve():
        return
    for entry in folder.glob("*"):
        with contextlib.suppress(OSError):  # another app on this home may be faster
            if time.time() - entry.lstat().st_mtime > UPLOADS_SECONDS:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def is_public(host: str, share: bool, env=os.environ) -> bool:
    """Whether others than this computer's user can reach the page: a share link, another address, a Space."""
    return share or not is_local(host) or on_space(env)


def _can_share() -> bool:
    """Whether a share link can be made; says why not."""
    reason = why_no_link()
    if reason:
        print(f"{reason} The app goes on without one, for this computer alone.", file=sys.stderr, flush=True)
    return not reason


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _greet(policy: str, host: str, port: int, local: str, public: str | None, share: bool) -> None:
    print(f"Open {public or local}", flush=True)
    own = own_address() if host == "0.0.0.0" and policy != "space" else ""
    if own:
        print(f"On other devices of this network: http://{own}:{port}/")
    if share and not public:
        print("The share link could not be made; what Gradio said of it is above.", file=sys.stderr)
    print(_WHO[policy], end="", flush=True)


def own_address() -> str:
    """This computer's address in its network, by which other devices reach it; "" without a network. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(
                ("192.0.2.1", 9)
            )  # for documentation (RFC 5737): which way out would be taken is all that is asked
            return asked.getsockname()[0]
        except OSError:
            return ""


_WHO = {
    "open": "",
    "guests": "Others can reach this page and there is no --auth: it offers the arena, lessons and open votes only.\n",
    "accounts": "Visitors can use the arena; owners sign in, at the top of the page.\n",
    "space": "Visitors can use the arena; the Space's owner signs in with Hugging Face.\n",
}


def parse_accounts(given: Sequence[str], file: str | None = None) -> dict[str, str]:
    """{name: hashed password} of USER:PASSWORD texts and of an accounts file. Raises UserError when one is missing."""
    accounts = read_accounts(Path(file).expanduser()) if file else {}
    for text in given:
        user, _, password = text.partition(":")
        if not user or not password:
            raise UserError("err_auth_flag")
        accounts[checked_name(user)] = hash_password(password)
    return accounts


def choose_access(host: str, share: bool, accounts: dict[str, str]) -> Access:
    """Who may do what: accounts where there are any; else everybody on this computer alone, and guests elsewhere."""
    if accounts:
        return Access("accounts", accounts)
    if on_space():
        return space_access()
    return Access("guests" if is_public(host, share) else "open")


def is_local(host: str) -> bool:
    """Whether only this computer can reach what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_port(host: str, port: int) -> None:
    """Says it plainly when the port is taken, before anything is started."""
    if not 0 < port < 65536:
        raise UserError("err_port", port=port)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UserError(
            "err_port_taken",
            port=port,
            host=host,
            reason=error.strerror or error,
            other=port + 1 if port < 65535 else 7860,
        ) from error


def _warm(services) -> None:
    """Imports what the first click needs, once the page is up."""
    from llmdemo.ui.samples import starter_tokenizer

    services.starter.wait()
    try:
        starter_tokenizer(services)
    except UserError:
        return  # said where it is needed


def why_no_link(seconds: float = _SHARE_SECONDS) -> str:
    """Why no share link can be made from here, as a sentence; "" when Gradio's server (or the proxy before it) answers.

    Gradio asks its server for a tunnel and fetches a program that opens it, with up to half a minute for each, and says
    what failed only then.
    """
    host, port = _share_server()
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


def _share_server() -> tuple[str, int]:
    """(host, port) of the first thing that a tunnel needs."""
    own = os.environ.get("GRADIO_SHARE_SERVER_ADDRESS")
    url = urlsplit(f"//{own}" if own else _SHARE_SERVER)
    proxy = getproxies().get("https")
    if proxy and not own and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or 443
