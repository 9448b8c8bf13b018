"""Sphinx settings. `make docs` gathers pages (docs/plurality_docs/stage.py) and builds them, warnings as errors.

Sphinx, because autodoc reads the same objects that users import, lazy ones too, and myst-nb shows stored notebook
outputs; no page needs the network: no intersphinx, no maths from a server (formulas are Unicode, as in the cards).
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import plurality  # noqa: E402

project = "plurality"
copyright = "the authors of plurality"
version = release = plurality.__version__
extensions = ["sphinx.ext.autodoc", "myst_nb", "plurality_docs.docstrings"]
exclude_patterns = ["build"]
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]  # cards and notebooks start where they like

nb_execution_mode = "off"  # what a notebook shows is what `make notebooks` stored
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = True
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

smartquotes = False  # `--option` in prose stays as it is
html_sidebars = {page: [] for page in ("start", "command_line", "faq", "architecture", "contributing", "changelog")}
html_theme = "pydata_sphinx_theme"
html_title = "plurality"
html_static_path = ["static"]
html_css_files = ["plurality.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
