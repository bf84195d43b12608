"""Sphinx settings. A warning is an error in CI; notebooks run when the documents are built."""

import os
from typing import Any

import hashneg

os.environ.setdefault("HASHNEG_NUM_THREADS", "2")  # so that a page does not depend on the machine that built it

project = "hashneg"
author = "The hashneg developers"
project_copyright = "The hashneg developers"
release = version = hashneg.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}  # autosummary writes the first kind
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
default_role = "py:obj"  # `name` in a docstring links to what it names

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings give types, with shapes and dtypes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

html_theme = "furo"
html_title = "hashneg"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_sourcelink = False


def _skip_tuple_fields(_app: Any, _what: str, _name: str, value: Any, skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples, which the docstring of their class describes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", _skip_tuple_fields)
