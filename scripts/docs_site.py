"""What the documentation site takes from the code when it is built: a hook of mkdocs (see mkdocs.yml).

It adds the pages that the code writes (``docs_pages.py``) and the JSON schemas, and turns links to other files of the
repository into links to its web address.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import docs_pages
from sparsebench.api.file_schemas import KINDS, file_schema

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):<code>[.~]*(?:\w+\.)*")
_LINK = re.compile(r"(\]\(|(?:src|href)=\")([^)\s\"#:]+)(?=[)#\"])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the generated pages in place of those that lead to the site, and the schemas beside them."""
    from mkdocs.structure.files import File

    contents = {"reference/cli.md": docs_pages.command_line(), "reference/yaml.md": docs_pages.yaml_files()}
    contents |= {f"reference/schemas/{kind}.json": json.dumps(file_schema(kind), indent=1) for kind in KINDS}
    for name, content in contents.items():
        if (stub := files.get_file_from_path(name)) is not None:  # for readers of the repository
            files.remove(stub)
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Lead links that leave the folder of the documents to the repository's address."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda match: match.group(1) + repository_link(match.group(2), folder, config.repo_url), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Take off what Sphinx would read before a name in a docstring: ``:class:`` and the like."""
    return _ROLE.sub("<code>", html)


def repository_link(target: str, folder: str, repository: str | None) -> str:
    """Return where a link leads on the site.

    Parameters
    ----------
    target : str
        A relative link, without its anchor.
    folder : str
        The folder of the page that it is on, relative to the repository: ``docs/reference``.
    repository : str
        The repository's web address.
    """
    path = posixpath.normpath(posixpath.join(folder, target))
    if target.startswith("/") or path == "docs" or path.startswith("docs/"):
        return target
    return f"{(repository or '').rstrip('/')}/blob/main/{path}"
