"""The documentation site: `make docs` builds it with every warning an error (tox.ini)."""

from __future__ import annotations

import pydoc
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from docutils import nodes  # noqa: E402
from docutils.parsers.rst import Directive  # noqa: E402

from tools import drawings, reference, urls  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ADDRESSES = urls.addresses(ROOT)

project = "picows"
author = "picows contributors"
project_copyright = author
release = ""

extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton"]
root_doc = "index"
nitpicky = True
suppress_warnings: List[str] = []

# Markdown as GitHub shows it: anchors of headings, links to other files, tables.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_fence_as_directive = ["mermaid"]
highlight_language = "text"
maximum_signature_line_length = 80
add_module_names = False
toc_object_entries_show_parents = "hide"
python_display_short_literal_types = True
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_copy_empty_lines = True

html_theme = "furo"
html_title = "picows"
html_baseurl = f"{ADDRESSES.site}/"
html_static_path = ["_static"]
html_css_files = ["picows.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options: Dict[str, Any] = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": "#0b5fa5",
        "color-brand-content": "#0b5fa5",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    },
    "dark_css_variables": {"color-brand-primary": "#7cc0ff", "color-brand-content": "#7cc0ff"},
}
if "github.com/" in ADDRESSES.repository:  # the theme knows where such a one shows its files
    html_theme_options.update(
        source_repository=f"{ADDRESSES.repository}/",
        source_branch="main",
        source_directory="docs/",
        top_of_page_buttons=["view"],
    )

PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img alt="([^"]*)" src="([^"]+)">\s*</picture>'
)


class Mermaid(Directive):
    """A diagram that GitHub draws from its text; here a picture drawn from the same table."""

    has_content = True
    required_arguments = 0

    def run(self) -> List[nodes.Node]:
        """Return the picture."""
        return [nodes.raw("", drawings.states(), format="html")]


class Drawing(Directive):
    """A picture of tools/drawings.py, by its name."""

    required_arguments = 1

    def run(self) -> List[nodes.Node]:
        """Return the picture."""
        return [nodes.raw("", drawings.DRAWINGS[self.arguments[0]](), format="html")]


def write_reference(_app: Sphinx) -> None:
    """Write the pages of the reference beside their index."""
    reference.main([str(DOCS / "reference")])


def link_to_repository(_app: Sphinx, document: str, source: List[str]) -> None:
    """Let links to files beside the documentation lead to the repository."""
    folder = (DOCS / document).parent

    def replaced(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        target = (folder / path).resolve()
        if DOCS in target.parents or ROOT not in target.parents:
            return match[0]
        if target == ROOT / "ARCHITECTURE.md":
            return f"](/internals/architecture.md{anchor})"
        branch = "tree/main" if target.is_dir() else "blob/main"
        place = target.relative_to(ROOT).as_posix()
        return f"]({ADDRESSES.repository}/{branch}/{place}{anchor})"

    source[0] = re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)", replaced, source[0])
    # GitHub chooses a picture by the reader's colours; the theme does by a class.
    source[0] = PICTURE.sub(r"![\2](\3){.only-light}\n![\2](\1){.only-dark}", source[0])


def resolve_reference(
    app: Sphinx, environment: BuildEnvironment, node: Any, content: nodes.Element
) -> Optional[nodes.Node]:
    """Find a name wherever it is documented; one of another library that exists gets no link."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    names = environment.domains.python_domain.objects
    for name, entry in names.items():
        is_member = name.endswith(f".{target}") and name.count(".") == target.count(".") + 1
        if is_member or name == target:
            document = node.get("refdoc", environment.docname)
            address = app.builder.get_relative_uri(document, entry.docname)
            link = nodes.reference("", "", internal=True, refuri=f"{address}#{entry.node_id}")
            link += content
            return link
    is_annotation = "refexplicit" not in node
    return content if is_annotation or pydoc.locate(target) is not None else None


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.add_directive("mermaid", Mermaid)
    app.add_directive("drawing", Drawing)
    app.connect("builder-inited", write_reference)
    app.connect("source-read", link_to_repository)
    app.connect("missing-reference", resolve_reference)
