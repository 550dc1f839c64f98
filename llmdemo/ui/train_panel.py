"""The train panel. Knows no optimizer."""

import gradio as gr

from llmdemo.ui import bridge
from llmdemo.ui.services import Services


def build(services: Services):
    bridge.island("heading", value="train_start")


def follow(services: Services, panel, tab: gr.Tab, data) -> None:
    pass
