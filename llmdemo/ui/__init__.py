"""The page: one module a panel, the theme, the words, the endpoints. The only package that imports gradio."""

import os

# Before gradio is imported: it would otherwise report to its makers' server, and the hub library likewise.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from llmdemo.ui import quick_import

quick_import.install()
