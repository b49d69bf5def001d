"""tools/release.py on a repository of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from tests.packaging.building import ROOT
from tools import abi, release

TODAY = "2030-01-31"
ADDRESSES = """\
[tool.picows.urls]
repository = "https://example.org/picows"
site = "https://example.org/docs"
"""


class Repository:
    """The packages' own files, in a repository where 0.1.0 of all three has been released."""

    def __init__(self, root: Path) -> None:
        self.root = root
        derived = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "native", "*.pyx")
        shutil.copytree(str(ROOT / "packages"), str(root / "packages"), ignore=derived)
        (root / "pyproject.toml").write_text(ADDRESSES, "utf-8")
        for package in release.PACKAGES:
            note = "- C-level API, epoch 1, level 1\n" if package == "picows-codec" else "- All\n"
            self.write_changelog(package, f"## 0.1.0 (2029-01-01)\n\n{note}")
            self.edit(package, "_version.py", release.current_version(root, package), "0.1.0")
        self.commit()
        for package in release.PACKAGES:
            release.git(root, "tag", f"{package}-v0.1.0")

    def commit(self) -> None:
        if not (self.root / ".git").exists():
            release.git(self.root, "init", "--quiet")
        release.git(self.root, "add", "--all")
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
        release.git(self.root, *who, "commit", "--quiet", "--message", "x")

    def write_changelog(self, package: str, text: str) -> None:
        path = self.root / "packages" / package / "CHANGELOG.md"
        path.write_text(f"# Changelog of {package}\n\n{text}", "utf-8")

    def news(self, package: str, text: str) -> None:
        """Add an unreleased section."""
        path = self.root / "packages" / package / "CHANGELOG.md"
        head, released = path.read_text("utf-8").split("\n\n", 1)
        path.write_text(f"{head}\n\n## 0.2.0 (unreleased)\n\n{text}\n\n{released}", "utf-8")

    def edit(self, package: str, name: str, old: str, new: str) -> None:
        path = release.version_file(self.root, package).parent / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    def prepare(self, package: str, version: str) -> List[str]:
        return release.prepare(self.root, package, version, TODAY)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_a_release(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.news("picows-client", "- Something new")
    assert repository.prepare("picows-client", "0.2.0") == []
    assert release.current_version(repository.root, "picows-client") == "0.2.0"
    newest = release.sections(repository.root, "picows-client")[0]
    assert (newest.version, newest.date) == ("0.2.0", TODAY)
    assert capsys.readouterr().out.splitlines() == [
        "picows-client 0.2.0 is prepared",
        "picows-client may keep picows-codec<1,>=0.1",
        "commit it, then: git tag picows-client-v0.2.0 && git push origin picows-client-v0.2.0",
    ]
    assert release.check(repository.root, "picows-client", "picows-client-v0.2.0") == []
    [problem] = release.check(repository.root, "picows-client", "picows-client-v0.3.0")
    assert problem == "the tag is picows-client-v0.3.0, but picows-client is 0.2.0"


def test_a_release_needs_addresses(repository: Repository) -> None:
    """Those that a checkout has until somebody publishes it belong to nobody."""
    path = repository.root / "pyproject.toml"
    path.write_text(ADDRESSES.replace("example.org/docs", "picows.example/docs"), "utf-8")
    problems = release.check(repository.root, "picows-client", "picows-client-v0.1.0")
    assert problems == ["pyproject.toml has no site yet: https://picows.example/docs"]


def test_notes_of_a_release(capsys: pytest.CaptureFixture[str]) -> None:
    release.main(["picows-client", "--notes"])
    newest = release.sections(ROOT, "picows-client")[0]
    assert capsys.readouterr().out == f"{newest.text.strip()}\n"


@pytest.mark.parametrize(
    ("news", "version", "problem"),
    [
        ("- New", "0.1.0", "0.1.0 is not above 0.1.0, which has been released"),
        ("- New", "0.02", "write the version as 0.2"),
        ("- New", "next", "'next' is not a version"),
        ("", "0.2.0", "picows-client/CHANGELOG.md has nothing under '(unreleased)'"),
        (None, "0.2.0", "CHANGELOG.md does not begin with '## X.Y.Z (unreleased)'"),
    ],
)
def test_nothing_is_written_if_something_is_wrong(
    repository: Repository, news: str, version: str, problem: str
) -> None:
    if news is not None:
        repository.news("picows-client", news)
    repository.commit() if news is not None else None
    [found] = repository.prepare("picows-client", version)
    assert problem in found
    assert release.git(repository.root, "status", "--porcelain") == ""


def test_an_unreleased_changelog_is_not_published(repository: Repository) -> None:
    repository.news("picows-server", "- New")
    repository.edit("picows-server", "_version.py", "0.1.0", "0.2.0")
    [problem] = release.check(repository.root, "picows-server", "picows-server-v0.2.0")
    assert problem == "the changelog begins with 0.2.0 (unreleased)"


def test_a_codec_that_others_need(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name and an option that the lowest allowed codec does not have."""
    repository.news("picows-codec", "- An option and a function")
    repository.edit(
        "picows-codec", "option_types.py", "busy_poll: bool", "later: int\n    busy_poll: bool"
    )
    repository.edit("picows-codec", "disconnect.py", "from __future__", "NEW = 1\nfrom __future__")
    client = "from __future__ import annotations\nfrom picows_codec.disconnect import NEW\n"
    repository.edit("picows-client", "logs.py", "from __future__ import annotations\n", client)
    repository.edit(
        "picows-server", "logs.py", "from __future__", "options = dict(later=1)\nfrom __future__"
    )
    assert repository.prepare("picows-codec", "0.2.0") == []
    lines = capsys.readouterr().out.splitlines()
    needed = "must require picows-codec>=0.2.0: 0.1 does not have"
    assert lines[1:3] == [
        f"picows-client {needed} picows_codec.disconnect.NEW",
        f"picows-server {needed} later",
    ]
    guard = abi.SOURCE.relative_to(ROOT) / "picows_codec" / "abi.pxd"
    assert "_version_0_2_0 [" in (repository.root / guard).read_text("utf-8")
    problems = release.check(repository.root, "picows-client", "picows-client-v0.1.0")
    assert problems == lines[1:2]


def test_a_codec_that_others_do_not_allow(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.news("picows-codec", "- New")
    assert repository.prepare("picows-codec", "1.0.0") == []
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "picows-client must allow picows-codec 1.0.0: it has picows-codec<1,>=0.1"


@pytest.mark.parametrize(
    ("numbers", "note", "version", "problem"),
    [
        ((1, 2), "epoch 1, level 2", "0.2.0", None),
        ((1, 2), "epoch 1, level 2", "0.1.1", "a new minor version is due"),
        ((1, 2), "new", "0.2.0", "the changelog does not say 'epoch 1, level 2'"),
        ((2, 1), "epoch 2, level 1", "0.2.0", "epoch 1 has become 2 since 0.1.0: 1.0.0 is due"),
        ((2, 1), "epoch 2, level 1", "1.0.0", None),
    ],
)
def test_numbers_of_the_c_api(
    repository: Repository, numbers: tuple[int, int], note: str, version: str, problem: str
) -> None:
    epoch, level = numbers
    repository.edit("picows-codec", "abi.py", "ABI_EPOCH = 1", f"ABI_EPOCH = {epoch}")
    repository.edit("picows-codec", "abi.py", "ABI_LEVEL = 1", f"ABI_LEVEL = {level}")
    repository.news("picows-codec", f"- C-level API: {note}")
    problems = repository.prepare("picows-codec", version)
    if problem is None:
        assert problems == []
    else:
        assert len(problems) == 1
        assert problem in problems[0]


def test_command() -> None:
    command = [sys.executable, str(ROOT / "tools" / "release.py"), "picows-codec"]
    for arguments in ([], ["1.0", "--check", "x"]):
        outcome = subprocess.run([*command, *arguments], capture_output=True, check=False)
        assert outcome.returncode == 2
        assert b"give a version, or --check and a tag" in outcome.stderr
