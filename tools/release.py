"""Prepare the release of one package, or check a prepared one.

    python tools/release.py picows-codec 0.2.0
    python tools/release.py picows-codec --check picows-codec-v0.2.0
    python tools/release.py picows-codec --notes

The first command checks that the changelog is not empty, that the version is the next one, and
that the codec's C-level API needs no higher one. Then it writes the version and the date, and
prints which other packages need a new lower bound, and how to tag. It writes nothing if a check
fails, and commits nothing. The others are for the release job: the third one prints what the
changelog says of the newest release. Needs the package ``packaging``.
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set, Tuple

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools import abi, urls  # noqa: E402

PACKAGES = ("picows-codec", "picows-client", "picows-server")
HEADING = re.compile(
    r"^## (?P<version>\S+) \((?P<date>unreleased|\d{4}-\d\d-\d\d)\)$", re.MULTILINE
)
ABI_NOTE = re.compile(r"epoch (\d+), level (\d+)")


class Section(NamedTuple):
    """One release in a changelog."""

    version: str
    date: str
    text: str


def main(arguments: List[str]) -> None:
    """Prepare or check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("version", nargs="?")
    parser.add_argument("--check", metavar="TAG", help="check that TAG is of a prepared release")
    parser.add_argument("--notes", action="store_true", help="print the newest changes")
    options = parser.parse_args(arguments)
    if sum(map(bool, (options.version, options.check, options.notes))) != 1:
        parser.error("give a version, or --check and a tag, or --notes")
    if options.notes:
        print(sections(ROOT, options.package)[0].text.strip())
        return
    if options.check:
        problems = check(ROOT, options.package, options.check)
    else:
        problems = prepare(ROOT, options.package, options.version)
    if problems:
        sys.exit("\n".join(problems))


def prepare(root: Path, package: str, text: str, today: Optional[str] = None) -> List[str]:
    """Write version and date, and print what is left to do; or return what prevents the release."""
    try:
        version = Version(text)
    except InvalidVersion:
        return [f"{text!r} is not a version"]
    if str(version) != text or version.local:
        return [f"write the version as {version.public}"]
    problems = changelog_problems(root, package, version)
    if package == "picows-codec" and not problems:
        problems = api_problems(root, version)
    if problems:
        return problems
    today = today or dt.datetime.now(dt.timezone.utc).date().isoformat()
    path = root / "packages" / package / "CHANGELOG.md"
    changelog = path.read_text("utf-8")
    path.write_text(HEADING.sub(f"## {version} ({today})", changelog, count=1), "utf-8")
    version_file(root, package).write_text(f'__version__ = "{version}"\n', "utf-8")
    if package == "picows-codec":
        abi.write_guard(root / "packages" / package / "src")
    print(f"{package} {version} is prepared")
    for line in advice(root, package, version):
        print(line)
    tag = f"{package}-v{version}"
    print(f"commit it, then: git tag {tag} && git push origin {tag}")
    return []


def check(root: Path, package: str, tag: str) -> List[str]:
    """Return what is wrong with a release that is about to be published."""
    version = current_version(root, package)
    problems = []
    if tag != f"{package}-v{version}":
        problems.append(f"the tag is {tag}, but {package} is {version}")
    newest = sections(root, package)[0]
    if newest.version != version or newest.date == "unreleased":
        problems.append(f"the changelog begins with {newest.version} ({newest.date})")
    problems.extend(line for line in advice(root, package, Version(version)) if "must" in line)
    return problems + urls.problems(root)


def changelog_problems(root: Path, package: str, version: Version) -> List[str]:
    """Return why the changelog does not fit the version."""
    found = sections(root, package)
    if not found or found[0].date != "unreleased":
        return [f"{package}/CHANGELOG.md does not begin with '## X.Y.Z (unreleased)'"]
    problems = []
    if not re.search(r"^- \S", found[0].text, re.MULTILINE):
        problems.append(f"{package}/CHANGELOG.md has nothing under '(unreleased)'")
    released = [Version(section.version) for section in found[1:]]
    if released and version <= max(released):
        problems.append(f"{version} is not above {max(released)}, which has been released")
    return problems


def api_problems(root: Path, version: Version) -> List[str]:
    """Return why the codec's C-level API does not allow this version."""
    source = root / "packages" / "picows-codec" / "src"
    epoch, level, _ = abi.numbers(source)
    newest, *older = sections(root, "picows-codec")
    noted = [tuple(map(int, pair)) for pair in ABI_NOTE.findall(newest.text)]
    before = [
        (Version(section.version), int(numbers[0]), int(numbers[1]))
        for section in older
        for numbers in ABI_NOTE.findall(section.text)
    ]
    if not before:
        last, last_epoch, last_level = Version("0"), 0, 0
    else:
        last, last_epoch, last_level = before[0]
    if (epoch, level) == (last_epoch, last_level):
        return []
    problems = []
    if (epoch, level) not in noted:
        problems.append(f"the changelog does not say 'epoch {epoch}, level {level}'")
    if before and epoch != last_epoch and version.major == last.major:
        problems.append(
            f"epoch {last_epoch} has become {epoch} since {last}: {last.major + 1}.0.0 is due"
        )
    elif before and (version.major, version.minor) == (last.major, last.minor):
        problems.append(
            f"level {last_level} has become {level} since {last}: a new minor version is due"
        )
    return problems


def advice(root: Path, package: str, version: Version) -> List[str]:
    """Return which packages need another range of the codec."""
    lines = []
    dependants = PACKAGES[1:] if package == "picows-codec" else (package,)
    codec = version if package == "picows-codec" else Version(current_version(root, "picows-codec"))
    for dependant in dependants:
        requirement = codec_requirement(root, dependant)
        lowest = lower_bound(requirement)
        if not requirement.specifier.contains(codec, prereleases=True):
            lines.append(f"{dependant} must allow picows-codec {codec}: it has {requirement}")
            continue
        missing = missing_names(root, dependant, lowest)
        if missing is None:
            if lowest != codec:
                lines.append(f"{dependant}: there is no tag picows-codec-v* of {lowest} to compare")
        elif missing:
            names = ", ".join(sorted(missing))
            lines.append(
                f"{dependant} must require picows-codec>={codec}: {lowest} does not have {names}"
            )
        else:
            lines.append(f"{dependant} may keep {requirement}")
    return lines


def codec_requirement(root: Path, package: str) -> Requirement:
    """Return what a package requires of the codec."""
    text = (root / "packages" / package / "pyproject.toml").read_text("utf-8")
    found = re.search(r'"(picows-codec[^"]*)"', text)
    if found is None:
        raise ValueError(f"{package} does not require picows-codec")
    return Requirement(found[1])


def lower_bound(requirement: Requirement) -> Version:
    """Return the oldest version that a requirement allows."""
    return max(Version(part.version) for part in requirement.specifier if part.operator == ">=")


def tag_of(root: Path, package: str, version: Version) -> Optional[str]:
    """Return the tag of a released version; None if there is none (0.1 and 0.1.0 are the same)."""
    prefix = f"{package}-v"
    for tag in git(root, "tag", "--list", f"{prefix}*").split():
        try:
            if Version(tag[len(prefix) :]) == version:
                return tag
        except InvalidVersion:
            continue
    return None


def missing_names(root: Path, package: str, lowest: Version) -> Optional[Set[str]]:
    """Return what a package uses of the codec that its lowest version does not have.

    That is imported names and keyword options; None if the lowest version has no tag.
    """
    tag = tag_of(root, "picows-codec", lowest)
    if tag is None:
        return None
    place = "packages/picows-codec/src/picows_codec"
    now = {
        path.relative_to(root / place).as_posix(): path.read_text("utf-8")
        for suffix in ("py", "pyi")
        for path in (root / place).rglob(f"*.{suffix}")
    }
    then = {}
    for name in git(root, "ls-tree", "-r", "--name-only", f"{tag}:{place}").split():
        if name.endswith((".py", ".pyi")):
            then[name] = git(root, "show", f"{tag}:{place}/{name}")
    missing = {
        f"{module}.{name}"
        for module, name in imported_names(root, package)
        if name in defined_names(now, module) and name not in defined_names(then, module)
    }
    options = option_names(now) - option_names(then)
    return missing | (options & keyword_names(root, package))


def keyword_names(root: Path, package: str) -> Set[str]:
    """Return the names of all parameters that a package declares, and of those that it gives."""
    found = set()
    for path in (root / "packages" / package / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.arg, ast.keyword)) and node.arg:
                found.add(node.arg)
    return found


def imported_names(root: Path, package: str) -> Set[Tuple[str, str]]:
    """Return module and name of everything that a package imports from the codec."""
    found = set()
    for path in (root / "packages" / package / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("picows_codec"):
                found.update((str(node.module), alias.name) for alias in node.names)
    return found


def defined_names(files: Dict[str, str], module: str) -> Set[str]:
    """Return what a module of the codec defines at its top."""
    stem = module.partition(".")[2].replace(".", "/") or "__init__"
    text = files.get(f"{stem}.pyi", files.get(f"{stem}.py", files.get(f"{stem}/__init__.py", "")))
    names: Set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def option_names(files: Dict[str, str]) -> Set[str]:
    """Return the keys of WSConnectionOptions, which are the keywords of WSOptions."""
    tree = ast.parse(files.get("option_types.py", ""))
    annotated = (node.target for node in ast.walk(tree) if isinstance(node, ast.AnnAssign))
    return {target.id for target in annotated if isinstance(target, ast.Name)}


def sections(root: Path, package: str) -> List[Section]:
    """Return the releases in a changelog, the newest first."""
    text = (root / "packages" / package / "CHANGELOG.md").read_text("utf-8")
    matches = list(HEADING.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    return [
        Section(match["version"], match["date"], text[match.end() : end])
        for match, end in zip(matches, ends)
    ]


def version_file(root: Path, package: str) -> Path:
    """Return the file that holds a package's version and nothing else."""
    return root / "packages" / package / "src" / package.replace("-", "_") / "_version.py"


def current_version(root: Path, package: str) -> str:
    """Return a package's version."""
    return version_file(root, package).read_text("utf-8").split('"')[1]


def git(root: Path, *arguments: str) -> str:
    """Return what git prints."""
    return subprocess.run(
        ["git", *arguments],  # noqa: S607
        cwd=str(root),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
