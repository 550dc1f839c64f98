"""The page: header, panels, endpoints; and how it is launched. Knows the panels, not what they do.

Where guests come beside owners there are two pages: the whole one, and one with the arena and the lessons, to which
authentication.py leads guests.
"""

import functools
import os
from collections.abc import Callable

import gradio as gr
from starlette.middleware import Middleware

from llmdemo.access.hosts import known_hosts
from llmdemo.access.session_cookies import SessionCookies, secret_key
from llmdemo.core.store import Home
from llmdemo.serving import routes as serving_routes
from llmdemo.ui import (
    api,
    authentication,
    bridge,
    data_panel,
    evaluate_panel,
    gradio_internals,
    lessons_panel,
    rights,
    server,
    train_panel,
    votes_panel,
    watch_panel,
    words,
)
from llmdemo.ui.chosen_language import ChosenLanguage
from llmdemo.ui.fair_queue import FairQueue
from llmdemo.ui.page_files import GradioFiles, PageFiles
from llmdemo.ui.page_stream import PageStream
from llmdemo.ui.request_limits import RequestLimits
from llmdemo.ui.services import Services
from llmdemo.ui.theme import theme


def build(services: Services) -> gr.Blocks:
    """The whole page and every endpoint over `services`."""
    gradio_internals.install()
    with gr.Blocks(title="Tune & Decode", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        api.add_endpoints(services)  # first: the endpoints' names are a contract, those of the panels' events are not
        _header(services)
        with gr.Tabs(elem_id="panels") as tabs:
            if not services.guests_only:
                _owner_panels(services, tabs)
            with gr.Tab(words.t("tab_arena"), id="arena"):
                _arena(services, services.guests_only)
            if not services.guests_only:
                with gr.Tab(words.t("tab_evaluate"), id="evaluate"):
                    evaluate_panel.build(services)
            _learn(services)
        _space_sign_in(services)
    if services.access.has_guests and services.access.has_owners:
        _guest_page(services, page)
    votes_panel.build_page(services, page)
    watch_panel.build_page(services, page)
    rights.close_to_guests(page, services.require_owner)
    FairQueue.install(page, services.settings, services.sessions, reserve=services.access.has_owners)
    settings = services.settings
    known = known_hosts(settings.hosts, os.environ, bool(settings.behind_proxy))
    page.uvicorn_config = functools.partial(server.config, settings=settings, hosts=known)
    return page


def _header(services: Services) -> None:
    """The title line with a live status and who is signed in, and the strip that shows the starter model arriving; what
    they say comes by page_stream.py."""

    @rights.for_owners
    def retry(_: dict) -> dict:
        services.starter.start()
        return services.starter.progress()

    bridge.island("header", [retry], elem_id="header")


def _guest_page(services: Services, page: gr.Blocks) -> None:
    """The arena and the lessons alone."""
    with page.route("Arena", authentication.GUEST_PAGE, show_in_navbar=False):
        _header(services)
        with gr.Tabs(elem_id="panels"):
            with gr.Tab(words.t("tab_arena"), id="arena"):
                _arena(services, guests=True)
            _learn(services)
        _space_sign_in(services)


def _space_sign_in(services: Services) -> None:
    """On a Space, Gradio's button to sign in with Hugging Face; it also brings the routes that do it."""
    if services.access.policy == "space":
        gr.LoginButton(elem_id="space-sign-in", size="sm")


def _owner_panels(services: Services, tabs: gr.Tabs) -> None:
    """Data and Train, which visitors of an app that is shared without a password do not get."""
    with gr.Tab(words.t("tab_data"), id="data"):
        data = data_panel.build(services)
    with gr.Tab(words.t("tab_train"), id="train"):
        train = train_panel.build(services)
    data_panel.open_train(data, tabs)
    train_panel.open_arena(train, tabs)


def _learn(services: Services) -> None:
    with gr.Tab(words.t("tab_learn"), id="learn"):
        lessons_panel.build(services)


def _arena(services: Services, guests: bool = False) -> None:
    from llmdemo.ui import arena_panel

    arena_panel.build(services, guests)
    if not guests:
        votes_panel.build(services)


def launch_options(services: Services) -> dict:
    """What `Blocks.launch` gets, beyond host, port, share and auth: looks, words, and what it must not do."""
    files = PageFiles()
    pages = PageStream(services)
    server = _server(services, files.first_script, pages.since)
    streams = (pages.route(), services.streams.route())
    return {
        "theme": theme(),
        "head": files.head(),
        "i18n": words.for_gradio(),
        "footer_links": ["api"],
        "run_history": False,
        "show_error": True,
        # What is asked how often is nobody's business; Gradio's API page asks for it, gets a 403, and does without.
        "enable_monitoring": False,
        "max_file_size": services.settings.max_upload_bytes,
        "allowed_paths": [],
        "blocked_paths": _closed_paths(services.home),
        "app_kwargs": {**server, "routes": [files.route(), GradioFiles().route(), *streams, *server["routes"]]},
        "ssr_mode": False,
        "pwa": False,
        "quiet": True,
        "state_session_capacity": max(1, services.settings.max_sessions),
        # Every endpoint as a tool for assistants (Model Context Protocol), on this computer alone: Gradio's MCP server
        # calls the endpoints from here, so nobody could tell a guest's call from the owner's.
        "mcp_server": services.access.policy == "open",
    }


def _closed_paths(home: Home) -> list[str]:
    """All of the home folder but what has been uploaded, also what is not there yet. Nothing else is opened either; this
    is the second lock."""
    known = {
        home.models,
        home.datasets,
        home.runs,
        home.experiments,
        home.serving,
        home.votes,
        home.tmp,
        home.database,
        home.root / "secret.key",
    }
    return sorted(str(path) for path in known.union(home.root.iterdir()) - {home.uploads})


def _server(services: Services, first_script: str = "", since: Callable = lambda visitor: 0) -> dict:
    """What stands before Gradio's own routes: authentication, then limits, and the pages for signing in."""
    root = services.home.root
    key = secret_key(root / "secret.key")
    tickets, cookies = (
        SessionCookies(key, services.access.stamp, root / "signed-out.json"),
        authentication.cookie_names(key),
    )
    settings = services.settings
    proxied = bool(settings.behind_proxy)
    middleware = [
        Middleware(
            authentication.AuthenticationMiddleware,
            access=services.access,
            tickets=tickets,
            cookies=cookies,
            behind_proxy=proxied,
        )
    ]
    middleware += [
        Middleware(
            RequestLimits,
            settings=settings,
            sessions=services.sessions,
            first_script=first_script,
            since=since,
        ),
        Middleware(ChosenLanguage),
    ]
    served = serving_routes.routes(services.serving, authentication.address_of, authentication.is_owner)
    return {
        "middleware": middleware,
        "routes": [*served, *authentication.routes(services.access, tickets, cookies[0])],
    }
