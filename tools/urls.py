"""The addresses of repository and site: compare every file that names them with pyproject.toml.

    python tools/urls.py            compare; fail with the names of files that differ
    python tools/urls.py --write    write the addresses of pyproject.toml into them

pyproject.toml of the checkout is the one place where they are decided ([tool.picows.urls]). The
metadata and the README of a wheel are read without the repository, so they need whole addresses.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("picows-codec", "picows-client", "picows-server")
# Files with links to the repository or the site; the metadata of the wheels has a table of them.
LINKING = (
    "README.md",
    *(f"packages/{package}/README.md" for package in PACKAGES),
    ".github/ISSUE_TEMPLATE/config.yml",
    "CODE_OF_CONDUCT.md",
    "SECURITY.md",
)
TABLE = re.compile(r"^\[project\.urls\]\n(?:\w.*\n)*", re.MULTILINE)
# Nobody can own a name below .example (RFC 2606), so the project has not been published yet.
UNPUBLISHED = ".example"


class Addresses(NamedTuple):
    """Where the project is published; without a slash at the end."""

    repository: str
    site: str


def main(arguments: List[str]) -> None:
    """Compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring everything up to date")
    options = parser.parse_args(arguments)
    differing = {
        path: text for path, text in updated(ROOT).items() if path.read_text("utf-8") != text
    }
    if options.write:
        for path, text in differing.items():
            path.write_text(text, "utf-8")
    elif differing:
        names = ", ".join(path.relative_to(ROOT).as_posix() for path in differing)
        sys.exit(f"other addresses than in pyproject.toml: {names} (python tools/urls.py --write)")
    else:
        print("every file has the addresses of pyproject.toml")


def addresses(root: Path) -> Addresses:
    """Return the addresses that are decided in pyproject.toml."""
    text = (root / "pyproject.toml").read_text("utf-8")
    section = text.partition("[tool.picows.urls]\n")[2].partition("\n[")[0]
    values = dict(re.findall(r'^(\w+) = "(https://[^"]*[^"/])"$', section, re.MULTILINE))
    return Addresses(**values)


def written(root: Path) -> Addresses:
    """Return the addresses that the files have now: those in the metadata of the codec."""
    text = (root / "packages" / PACKAGES[0] / "pyproject.toml").read_text("utf-8")
    urls = dict(re.findall(r'^(\w+) = "(https://.*)"$', text, re.MULTILINE))
    return Addresses(repository=urls["Source"], site=urls["Documentation"])


def updated(root: Path) -> Dict[Path, str]:
    """Return every file that names an address, with those of pyproject.toml."""
    new = addresses(root)
    texts = {}
    for package in PACKAGES:
        path = root / "packages" / package / "pyproject.toml"
        texts[path] = TABLE.sub(table(new, package), path.read_text("utf-8"))
    for name in LINKING:
        text = (root / name).read_text("utf-8")
        for before, after in zip(written(root), new):
            text = text.replace(before, after)
        texts[root / name] = text
    return texts


def table(urls: Addresses, package: str) -> str:
    """Return the links that an index shows beside a package."""
    return (
        "[project.urls]\n"
        f'Documentation = "{urls.site}"\n'
        f'Source = "{urls.repository}"\n'
        f'Changelog = "{urls.repository}/blob/main/packages/{package}/CHANGELOG.md"\n'
        f'Issues = "{urls.repository}/issues"\n'
    )


def problems(root: Path) -> List[str]:
    """Return why nothing can be released with these addresses."""
    return [
        f"pyproject.toml has no {name} yet: {address}"
        for name, address in addresses(root)._asdict().items()
        if address.partition("://")[2].partition("/")[0].endswith(UNPUBLISHED)
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
