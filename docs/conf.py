"""How the site is built: `python -m sphinx -W --keep-going -n docs build/site`.

The tutorials are notebooks, run while the site is built. What came out is kept in the build folder until the
page changes: delete that folder to run them with another version of the library.
"""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [
    str(DOCS),
    str(DOCS.parent / "benchmarks"),
]  # our extension, and what draws figures of records

from zoobot.version import __version__  # noqa: E402

project = "Zoobot"
author = "The Zoobot developers"
project_copyright = "The Zoobot developers"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "made_from_code",
]
exclude_patterns = ["build"]

# Names of other libraries become links where a network is. Without one they stay words, here as there.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!zoobot\b).*")]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_execution_in_temp = True
nb_merge_streams = True

python_display_short_literal_types = True
default_role = "code"  # what docstrings write between single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "Zoobot"
html_static_path = ["_static"]
html_css_files = ["zoobot.css"]
html_show_sourcelink = False
html_sidebars = {"coming-from-zoobot": []}  # it has no neighbours
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
