"""The app's own theme: system fonts, two greys, one ink. Knows nothing of panels; layout is in assets/lib/style.css.

Colours are those of assets/lib/style.css (light, dark), written twice because Gradio wants them before CSS is loaded.
"""

from gradio.themes import Base, Color, Size
from gradio.themes.utils.fonts import Font

_INK = Color(
    c50="#f7f8fa", c100="#eef1f4", c200="#d9dee4", c300="#c3cad2", c400="#8c96a1", c500="#6a7480",
    c600="#59636e", c700="#3a424b", c800="#252b32", c900="#1b1f24", c950="#13171b", name="ink",
)  # fmt: skip
_TEXT = Size(xxs="11px", xs="12px", sm="13px", md="15px", lg="16px", xl="18px", xxl="22px", name="text_quiet")
_SPACE = Size(xxs="2px", xs="4px", sm="6px", md="8px", lg="12px", xl="16px", xxl="22px", name="spacing_quiet")
_RADIUS = Size(xxs="3px", xs="4px", sm="6px", md="8px", lg="10px", xl="10px", xxl="12px", name="radius_quiet")
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK TC", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def theme() -> Base:
    """A Gradio theme that asks no other host for fonts, for light and dark."""
    quiet = Base(
        primary_hue=_INK,
        secondary_hue=_INK,
        neutral_hue=_INK,
        text_size=_TEXT,
        spacing_size=_SPACE,
        radius_size=_RADIUS,
        font=[Font(name) for name in _SANS],
        font_mono=[Font(name) for name in _MONO],
    )
    quiet.name = "quiet"
    return quiet.set(**_both(_SURFACES), **_both(_CONTROLS), **_PLAIN)


def _both(pairs: dict[str, tuple[str, str]]) -> dict[str, str]:
    """{"x": (light, dark)} → {"x": light, "x_dark": dark}."""
    light = {name: value[0] for name, value in pairs.items()}
    return light | {f"{name}_dark": value[1] for name, value in pairs.items()}


_SURFACES = {
    "body_background_fill": ("#f7f8fa", "#13171b"),
    "body_text_color": ("#1b1f24", "#e8ebef"),
    "body_text_color_subdued": ("#59636e", "#9aa5b1"),
    "background_fill_primary": ("#ffffff", "#1a1f25"),
    "background_fill_secondary": ("#f7f8fa", "#13171b"),
    "border_color_primary": ("#d9dee4", "#2d343c"),
    "border_color_accent": ("#1b1f24", "#e8ebef"),
    "color_accent_soft": ("#eef1f4", "#252b32"),
    "block_background_fill": ("transparent", "transparent"),
    "block_border_color": ("#d9dee4", "#2d343c"),
    "block_title_text_color": ("#59636e", "#9aa5b1"),
    "block_label_text_color": ("#59636e", "#9aa5b1"),
    "block_info_text_color": ("#59636e", "#9aa5b1"),
    "panel_background_fill": ("transparent", "transparent"),
    "link_text_color": ("#0a5c8f", "#7cc4f0"),
    "link_text_color_hover": ("#1b1f24", "#e8ebef"),
    "link_text_color_visited": ("#0a5c8f", "#7cc4f0"),
    "link_text_color_active": ("#0a5c8f", "#7cc4f0"),
    "error_background_fill": ("#fff4f1", "#2b1d1b"),
    "error_border_color": ("#e3b4a8", "#6b3a30"),
    "error_text_color": ("#8a2c12", "#f2b8a8"),
    "error_icon_color": ("#8a2c12", "#f2b8a8"),
    "loader_color": ("#0072b2", "#56b4e9"),
    "slider_color": ("#1b1f24", "#e8ebef"),
}

_CONTROLS = {
    "input_background_fill": ("#ffffff", "#1a1f25"),
    "input_background_fill_focus": ("#ffffff", "#1a1f25"),
    "input_background_fill_hover": ("#ffffff", "#1a1f25"),
    "input_border_color": ("#c3cad2", "#4a545f"),
    "input_border_color_focus": ("#1b1f24", "#e8ebef"),
    "input_border_color_hover": ("#8c96a1", "#6a7480"),
    "input_placeholder_color": ("#68727d", "#98a3af"),
    "checkbox_background_color": ("#ffffff", "#1a1f25"),
    "checkbox_background_color_selected": ("#1b1f24", "#3a7ca8"),
    "checkbox_border_color": ("#8c96a1", "#8c96a1"),
    "checkbox_border_color_selected": ("#1b1f24", "#56b4e9"),
    "checkbox_label_background_fill": ("transparent", "transparent"),
    "checkbox_label_background_fill_hover": ("#eef1f4", "#252b32"),
    "checkbox_label_background_fill_selected": ("#eef1f4", "#252b32"),
    "checkbox_label_border_color": ("#d9dee4", "#2d343c"),
    "checkbox_label_text_color": ("#1b1f24", "#e8ebef"),
    "checkbox_label_text_color_selected": ("#1b1f24", "#e8ebef"),
    "button_primary_background_fill": ("#1b1f24", "#e8ebef"),
    "button_primary_background_fill_hover": ("#3a424b", "#ffffff"),
    "button_primary_border_color": ("#1b1f24", "#e8ebef"),
    "button_primary_text_color": ("#ffffff", "#13171b"),
    "button_primary_text_color_hover": ("#ffffff", "#13171b"),
    "button_secondary_background_fill": ("#ffffff", "#1a1f25"),
    "button_secondary_background_fill_hover": ("#eef1f4", "#252b32"),
    "button_secondary_border_color": ("#c3cad2", "#4a545f"),
    "button_secondary_text_color": ("#1b1f24", "#e8ebef"),
    "button_secondary_text_color_hover": ("#1b1f24", "#e8ebef"),
}

_PLAIN = {
    "color_accent": "#0072b2",
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_title_text_size": "13px",
    "block_title_text_weight": "400",
    "block_label_border_width": "0px",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "button_border_width": "1px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_medium_text_size": "15px",
    "button_medium_text_weight": "600",
    "button_small_text_size": "13px",
    "button_small_text_weight": "400",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "checkbox_label_shadow": "none",
    "checkbox_label_padding": "5px 10px",
    "form_gap_width": "0px",
    "layout_gap": "14px",
    "shadow_drop": "none",
    "shadow_drop_lg": "0 8px 28px rgb(0 0 0 / .16)",
    "section_header_text_weight": "600",
}
