"""Files for those who publish, contribute or look at an index: addresses, links, pinned actions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import pytest

from tools import urls

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# The index shows these; a link that is relative leads nowhere there.
SHOWN_ON_THE_INDEX = [f"packages/{package}/README.md" for package in urls.PACKAGES]
COMMUNITY = (".github/ISSUE_TEMPLATE/config.yml", "CODE_OF_CONDUCT.md", "SECURITY.md")


def test_every_file_has_the_addresses_of_pyproject() -> None:
    assert urls.written(ROOT) == urls.addresses(ROOT)
    for path, text in urls.updated(ROOT).items():
        assert path.read_text("utf-8") == text, f"python tools/urls.py --write ({path.name})"


def test_new_addresses_are_written_everywhere(tmp_path: Path) -> None:
    """A project that is published somewhere else names no address of before."""
    names = ("pyproject.toml", *(path.relative_to(ROOT).as_posix() for path in urls.updated(ROOT)))
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    before = urls.addresses(ROOT)
    path = tmp_path / "pyproject.toml"
    text = path.read_text("utf-8")
    for old, new in zip(before, ("https://example.org/r", "https://example.org/s")):
        text = text.replace(f'"{old}"', f'"{new}"')
    path.write_text(text, "utf-8")
    for changed, text in urls.updated(tmp_path).items():
        changed.write_text(text, "utf-8")
    assert urls.problems(tmp_path) == []
    assert urls.written(tmp_path) == ("https://example.org/r", "https://example.org/s")
    for name in names:
        assert not any(old in (tmp_path / name).read_text("utf-8") for old in before), name


def links(name: str) -> Iterator[Tuple[str, ...]]:
    """Where the links and pictures of a document lead; of Markdown, with its references."""
    text = (ROOT / name).read_text("utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)$|^ +url: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", SHOWN_ON_THE_INDEX)
def test_readme_of_a_wheel_has_no_relative_link(name: str) -> None:
    found = ["".join(groups) for groups in links(name)]
    assert found
    assert [link for link in found if not link.startswith("https://")] == []
    defined = re.findall(r"^\[([^]]+)\]: ", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    text = (ROOT / name).read_text("utf-8").partition("\n[Documentation]: ")[0]
    assert all(f"[{label}]" in text for label in defined)


@pytest.mark.parametrize("name", [*SHOWN_ON_THE_INDEX, *COMMUNITY])
def test_links_to_repository_and_site_lead_somewhere(name: str) -> None:
    repository, site = urls.addresses(ROOT)
    for groups in links(name):
        link = "".join(groups).partition("#")[0]
        if link.startswith(f"{site}/"):
            page = link[len(site) + 1 :] or "index.html"
            assert (ROOT / "docs" / page).with_suffix(".md").is_file(), link
        elif link.startswith(f"{repository}/"):
            kind, _, rest = link[len(repository) + 1 :].partition("/")
            if kind in {"blob", "tree"}:
                assert (ROOT / rest.partition("/")[2]).exists(), link
            elif kind == "actions":
                assert (ROOT / ".github" / re.findall(r"workflows/[\w.-]+yml", link)[0]).is_file()
            else:
                assert (kind, rest) in {("security", "advisories/new"), ("issues", "")}, link


def test_actions_are_pinned() -> None:
    """To the hash of a commit, with the release that it is; the same one in every workflow."""
    releases: Dict[str, str] = {}
    for path in WORKFLOWS:
        for action in re.findall(r"uses: (.+)", path.read_text("utf-8")):
            match = re.fullmatch(r"([\w.-]+/[\w.-]+)@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
            assert match, f"{path.name}: {action}"
            assert releases.setdefault(match[1], action) == action
    assert len(releases) >= 5


def test_releases_are_made_by_one_workflow() -> None:
    [release] = [path for path in WORKFLOWS if "pypi-publish@" in path.read_text("utf-8")]
    text = release.read_text("utf-8")
    assert all(f'"{package}-v*"' in text for package in urls.PACKAGES)


def test_interpreters_of_the_classifiers_are_those_of_the_tests() -> None:
    tox = (ROOT / "tox.ini").read_text("utf-8")
    named = re.findall(r"^env_list = .*py\{3([^}]+)\}", tox, re.MULTILINE)[0].split(",3")
    versions = {f"3.{minor}" for minor in named}
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    assert set(json.loads(re.findall(r"python: (\[.*\])", workflow)[0])) == versions
    assert any(version.endswith("t") for version in versions)
    for package in urls.PACKAGES:
        text = (ROOT / "packages" / package / "pyproject.toml").read_text("utf-8")
        found = set(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text))
        assert found == {version.rstrip("t") for version in versions}, package
        assert '"Programming Language :: Python :: Free Threading"' in text, package


def test_pre_commit_runs_what_tox_runs() -> None:
    tox = (ROOT / "tox.ini").read_text("utf-8").partition("[testenv:lint]")[2].partition("\n[")[0]
    lines = (ROOT / "tools" / "requirements.txt").read_text("utf-8").splitlines()
    pinned = {line.partition(";")[0] for line in lines if not line.startswith("#")}
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    needed: List[str] = re.findall(r'additional_dependencies: \["(.*)"\]', hooks)
    assert set(needed) == pinned
    for entry in re.findall(r"entry: (.*)", hooks):
        assert f"\n    {entry}" in tox, entry
