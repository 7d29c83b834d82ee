"""The page's theme: Gradio's own variables, tied to those of assets/style.css."""

from __future__ import annotations

from typing import Any

# Each is a Gradio theme variable; the same value serves dark, because the CSS variables themselves change there.
VARIABLES = {
    "body_text_color_subdued": "var(--ink-soft)",
    "background_fill_primary": "var(--surface)",
    "background_fill_secondary": "var(--paper)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--accent)",
    "color_accent_soft": "var(--accent-soft)",
    "block_background_fill": "transparent",
    "block_border_color": "var(--line)",
    "block_label_background_fill": "transparent",
    "block_label_text_color": "var(--ink-soft)",
    "block_title_text_color": "var(--ink)",
    "block_info_text_color": "var(--ink-soft)",
    "panel_background_fill": "var(--surface)",
    "input_background_fill": "var(--surface)",
    "input_background_fill_focus": "var(--surface)",
    "input_border_color": "var(--line-strong)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--ink-faint)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_text_color": "var(--on-accent)",
    "button_primary_border_color": "var(--accent)",
    "button_secondary_background_fill": "var(--surface)",
    "button_secondary_background_fill_hover": "var(--hover)",
    "button_secondary_text_color": "var(--ink)",
    "button_secondary_border_color": "var(--line-strong)",
    "link_text_color": "var(--accent-text)",
    "link_text_color_hover": "var(--accent-text)",
    "link_text_color_visited": "var(--accent-text)",
    "link_text_color_active": "var(--accent-text)",
    "slider_color": "var(--accent)",
    "checkbox_background_color_selected": "var(--accent)",
    "checkbox_border_color": "var(--line-strong)",
    "checkbox_border_color_selected": "var(--accent)",
    "checkbox_label_background_fill": "var(--surface)",
    "checkbox_label_background_fill_hover": "var(--hover)",
    "checkbox_label_background_fill_selected": "var(--accent-soft)",
    "checkbox_label_border_color": "var(--line-strong)",
    "checkbox_label_border_color_hover": "var(--line-strong)",
    "checkbox_label_border_color_selected": "var(--accent)",
    "checkbox_label_text_color": "var(--ink)",
    "checkbox_label_text_color_selected": "var(--ink)",
    "table_even_background_fill": "var(--surface)",
    "table_odd_background_fill": "var(--paper)",
    "stat_background_fill": "var(--accent)",
    "error_background_fill": "var(--error-soft)",
    "error_text_color": "var(--error-text)",
    "error_border_color": "var(--error-text)",
}
# Painted before any style sheet is there, so no variables of ours.
FIRST = {
    "body_background_fill": "#fbfaf7",
    "body_background_fill_dark": "#181613",
    "body_text_color": "#1f1c18",
    "body_text_color_dark": "#ece7dd",
}
PLAIN = {
    "color_accent": "var(--accent)",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0px",
    "block_radius": "8px",
    "block_label_text_size": "*text_sm",
    "block_title_text_weight": "600",
    "block_title_text_size": "*text_md",
    "block_info_text_size": "14px",
    "checkbox_label_border_width": "1px",
    "checkbox_label_text_size": "15px",
    "input_border_width": "1px",
    "input_padding": "9px 12px",
    "input_radius": "6px",
    "input_shadow": "none",
    "input_text_size": "16px",
    "button_large_radius": "6px",
    "button_medium_radius": "6px",
    "button_small_radius": "6px",
    "button_large_text_weight": "600",
    "button_large_text_size": "16px",
    "button_large_padding": "9px 18px",
    "button_primary_shadow": "none",
    "button_primary_shadow_hover": "none",
    "button_secondary_shadow": "none",
    "layout_gap": "16px",
    "form_gap_width": "12px",
}


def make_theme() -> Any:
    """Paper and ink, one accent, few borders. assets/style.css declares the fonts."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        text_size=gr.themes.sizes.text_md,
        font=["IBM Plex Sans", "system-ui", "sans-serif"],
        font_mono=["IBM Plex Mono", "ui-monospace", "monospace"],
    )
    both = VARIABLES | {f"{name}_dark": value for name, value in VARIABLES.items()}
    return theme.set(**both, **FIRST, **PLAIN)
