"""Each wheel installed by itself into a fresh environment; the build in its several kinds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict

import pytest

from tests.packaging.building import ROOT, FreshEnvironment, declared_version, pip_wheel, run, talk

CODEC_NEEDS = {"multidict", "picows-codec", "typing_extensions"}
# aiofastnet needs Python 3.9; exceptiongroup comes with it before Python 3.11.
CONNECTION_NEEDS = CODEC_NEEDS | {"aiofastnet", "exceptiongroup"}


def test_client_alone(
    fresh_environment: Callable[[], FreshEnvironment], wheels: Dict[str, Path], tmp_path: Path
) -> None:
    environment = fresh_environment()
    environment.pip_install(str(wheels["client"]), str(wheels["codec"]))
    assert set(environment.distributions()) <= CONNECTION_NEEDS | {"picows-client"}
    answer = talk(
        sys.executable, "websockets_server.py", environment.python, "quickstart_client.py"
    )
    assert answer == "Echo reply: Hello world\n"
    script = Path(environment.python).with_name("picows")
    assert run(str(script), "--version", cwd=tmp_path) == (
        f"picows-client {declared_version('client')}\n"
    )
    assert run(environment.python, "-m", "picows_client", "--help", cwd=tmp_path).startswith(
        "usage: picows "
    )


def test_server_alone(
    fresh_environment: Callable[[], FreshEnvironment], wheels: Dict[str, Path]
) -> None:
    environment = fresh_environment()
    environment.pip_install(str(wheels["server"]), str(wheels["codec"]))
    assert set(environment.distributions()) <= CONNECTION_NEEDS | {"picows-server"}
    answer = talk(
        environment.python, "quickstart_server.py", sys.executable, "websockets_client.py"
    )
    assert answer == "Echo reply: Hello world\n"


def test_source_distributions(
    fresh_environment: Callable[[], FreshEnvironment], wheels: Dict[str, Path]
) -> None:
    """All three, built with nothing but a compiler, run the first program of the README."""
    environment = fresh_environment()
    environment.pip_install(*(str(wheels[name]) for name in ("codec", "client", "server")))
    names = {"picows-client", "picows-server"}
    assert set(environment.distributions()) <= CONNECTION_NEEDS | names
    output = environment.run(
        "import picows_codec as c; print(c.__version__, int(c.WSMsgType.TEXT))"
    )
    assert output.split() == [declared_version("codec"), "1"]
    readme = (ROOT / "README.md").read_text("utf-8")
    program = readme.partition("```python\n")[2].partition("```")[0]
    assert environment.run(program) == "Echo: Hello world\n"


def test_editable_install(
    fresh_environment: Callable[[], FreshEnvironment], packages: Path, tmp_path: Path
) -> None:
    source = tmp_path / "picows-codec"
    shutil.copytree(str(packages / "picows-codec"), str(source))
    environment = fresh_environment()
    environment.pip_install("-e", str(source), environment={"PICOWS_BUILD": "debug"})
    output = environment.run("import picows_codec.mask as m; print(m.__file__)")
    extension = Path(output.strip())
    assert extension.parent == source / "src" / "picows_codec"
    left = {path.parent.name for path in extension.parent.rglob("*.c")}
    assert left == {"native"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_git_ignores_what_an_editable_install_leaves() -> None:
    source = "packages/picows-codec/src/picows_codec"
    places = [
        f"{source}/{room}.{end}" for room in ("mask", "folder/room") for end in ("x.so", "pyd", "c")
    ]
    command = ["git", "check-ignore", *places]
    outcome = subprocess.run(
        command, cwd=str(ROOT), stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert outcome.stdout.split() == places
    for kernel in ("native/cpu.c", "folder/native/kernel.c"):
        command = ["git", "check-ignore", f"{source}/{kernel}"]
        assert subprocess.run(command, cwd=str(ROOT), check=False).returncode == 1


def test_unknown_kind_of_build(sdists: Dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="PICOWS_BUILD='fast': expected one of release"):
        pip_wheel(str(sdists["codec"]), tmp_path, kind="fast")
