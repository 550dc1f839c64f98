"""The page: header, three panels, endpoints; and how it is launched. Knows the panels, not what they do."""

import gradio as gr
from starlette.middleware import Middleware

from llmdemo.ui import api, bridge, data_panel, shell, train_panel, words
from llmdemo.ui.guard import Guard
from llmdemo.ui.services import Services
from llmdemo.ui.theme import theme


def build(services: Services) -> gr.Blocks:
    """The whole page and every endpoint over `services`."""
    with gr.Blocks(title="Tune & Decode", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        api.add_endpoints(services)  # first: the endpoints' names are a contract, those of the panels' events are not
        shell.header(services)
        with gr.Tabs(elem_id="panels") as tabs:
            if not services.guests_only:
                _owner_panels(services, tabs)
            with gr.Tab(words.t("tab_arena"), id="arena"):
                _arena(services)
    return page.queue(default_concurrency_limit=4, max_size=200)


def _owner_panels(services: Services, tabs: gr.Tabs) -> None:
    """Data and Train, which visitors of an app that is shared without a password do not get."""
    with gr.Tab(words.t("tab_data"), id="data"):
        data = data_panel.build(services)
    with gr.Tab(words.t("tab_train"), id="train"):
        train = train_panel.build(services)
    data_panel.open_train(data, tabs)
    train_panel.open_arena(train, tabs)


def _arena(services: Services) -> None:
    from llmdemo.ui import arena_panel

    arena_panel.build(services)


def launch_options(services: Services) -> dict:
    """What `Blocks.launch` gets, beyond host, port, share and auth: looks, words, and what it must not do."""
    return {
        "theme": theme(),
        "css": bridge.css(),
        "head": bridge.head(words.for_scripts()),
        "i18n": words.I18N,
        "footer_links": ["api"],
        "run_history": False,
        "show_error": True,
        "enable_monitoring": False,
        "max_file_size": services.settings.max_upload_bytes,
        "allowed_paths": [],
        "blocked_paths": [str(services.home.root)],
        "app_kwargs": {"middleware": [Middleware(Guard, guests_only=services.guests_only)]},
        "ssr_mode": False,
        "pwa": False,
        "quiet": True,
    }
