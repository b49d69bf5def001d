"""The files of examples/gateway for operators are read by those that they are for, and agree."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from picows_server.http.metrics import MetricsCollector
from picows_server.running.arguments import Arguments, parsed
from tests.examples.conftest import ROOT

yaml = pytest.importorskip("yaml")

GATEWAY = ROOT / "examples" / "gateway"
CLOSE_TIMEOUT = 5.0  # the default, in seconds

ALERT_TESTS = Path(__file__).with_name("gateway_alerts.yml")
YAML_FILES = sorted([*GATEWAY.glob("*.yml"), *GATEWAY.glob("*.yaml"), ALERT_TESTS])


def text_of(name: str) -> str:
    return (GATEWAY / name).read_text("utf-8")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def shell_commands() -> List[str]:
    """The commands of README.md."""
    found: List[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```$", text_of("README.md"), re.MULTILINE | re.DOTALL):
        found += block.replace("\\\n", "").splitlines()
    return found


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=["="], strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text_of(name).replace("\\\n", ""))
    return parser


def manifest() -> Dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(text_of("kubernetes.yaml"))}


def container() -> Dict[str, Any]:
    (found,) = manifest()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def of_dockerfile(instruction: str) -> List[str]:
    """An instruction whose form is a list."""
    text = text_of("Dockerfile").replace("\\\n", "")
    found = re.search(rf"^{instruction} (\[.*\])$", text, re.MULTILINE)
    assert found is not None
    return list(json.loads(found[1]))


def command_of_the_manifest() -> List[str]:
    return [*of_dockerfile("ENTRYPOINT"), *container()["args"]]


def command_of_the_image() -> List[str]:
    return [*of_dockerfile("ENTRYPOINT"), *of_dockerfile("CMD")]


def arguments_of(command: List[str]) -> Arguments:
    """What ``python -m picows_server`` makes of a command."""
    assert command[1:3] == ["-m", "picows_server"]
    found = parsed(command[3:])
    assert found.settings.factory_or_routes == "gateway:routes"
    assert found.settings.lifespan == "gateway:lifespan"
    return found


def end_of(arguments: Arguments) -> float:
    """Seconds that a process may take to end, without its lifespan."""
    timeout = arguments.settings.drain.timeout
    assert timeout is not None
    return timeout + CLOSE_TIMEOUT


def test_readme_names_all_files() -> None:
    names = {path.name for path in GATEWAY.iterdir() if path.is_file()}
    linked = {*re.findall(r"\]\(([^/)]*)\)", text_of("README.md"))}
    assert names - linked == {"README.md", ".dockerignore"}


def test_readme_has_a_command_that_is_understood() -> None:
    (command,) = (each for each in shell_commands() if "-m picows_server" in each)
    arguments = arguments_of(shlex.split(command))
    assert arguments.workers.workers == 2
    assert arguments.workers.admin_url == "http://127.0.0.1:9000"
    assert arguments.settings.server_options["access_log"] is True


# systemd


def test_service() -> None:
    service = unit("gateway.service")["Service"]
    arguments = arguments_of(shlex.split(service["ExecStart"]))
    assert arguments.settings.server_options["trusted_proxies"] == ["127.0.0.1", "::1"]
    assert float(service["TimeoutStopSec"]) >= end_of(arguments) + 5
    # One worker after the other.
    drain = arguments.settings.drain
    assert float(service["TimeoutStartSec"]) > arguments.workers.workers * (drain.timeout or 0)
    connections = arguments.settings.server_options["max_connections"]
    assert int(service["LimitNOFILE"]) > connections * 2
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    port = arguments.settings.url.rpartition(":")[2]
    assert unit("gateway.socket")["Socket"]["ListenStream"] == port


@needs("systemd-analyze")
def test_systemd_analyze(tmp_path: Path) -> None:
    """Its program, user and folder are not on this machine."""
    for name in ("gateway.service", "gateway.socket"):
        text = text_of(name).replace("/srv/gateway/venv/bin/python", sys.executable)
        text = text.replace("User=gateway\n", "").replace("WorkingDirectory=/srv/gateway\n", "")
        (tmp_path / name).write_text(text, "utf-8")
    outcome = subprocess.run(
        ["systemd-analyze", "verify", "./gateway.service", "./gateway.socket"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    # It also speaks of other units of the machine.
    assert "gateway" not in outcome.stdout, outcome.stdout
    assert outcome.returncode == 0, outcome.stdout


# Containers


def test_dockerfile() -> None:
    arguments = arguments_of(command_of_the_image())
    assert arguments.settings.url == "ws://0.0.0.0:8080"
    assert end_of(arguments) < docker_stop_timeout()
    text = text_of("Dockerfile")
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert "sh -c" not in text
    copied = re.search(r"^COPY (gateway.*) /srv/gateway/$", text, re.MULTILINE)
    assert copied is not None
    left = {line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")}
    assert left == {*copied[1].split(), "requirements.txt"}
    assert all((GATEWAY / name).exists() for name in left)


def docker_stop_timeout() -> int:
    (command,) = (each for each in shell_commands() if each.startswith("docker run"))
    words = shlex.split(command)
    return int(words[words.index("--stop-timeout") + 1])


# Kubernetes


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml(path: Path) -> None:
    assert all(yaml.safe_load_all(path.read_text("utf-8")))


def test_manifest_ends_in_time() -> None:
    arguments = arguments_of(command_of_the_manifest())
    pod = manifest()["Deployment"]["spec"]["template"]["spec"]
    assert "lifecycle" not in container()  # no preStop, whose time would be added
    assert pod["terminationGracePeriodSeconds"] >= end_of(arguments) + 5
    probe = container()["readinessProbe"]
    assert arguments.settings.drain.grace > probe["periodSeconds"] * probe["failureThreshold"]
    drain = arguments.settings.drain
    assert drain.timeout is not None
    assert drain.grace + drain.spread < drain.timeout


def test_manifest_agrees_with_itself() -> None:
    arguments = arguments_of(command_of_the_manifest())
    kinds = manifest()
    assert {*kinds} == {"Deployment", "Service", "PodDisruptionBudget"}
    template = kinds["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert kinds["Service"]["spec"]["selector"] == labels
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    admin_url = arguments.workers.admin_url
    assert admin_url is not None
    assert ports == {
        "wss": int(arguments.settings.url.rpartition(":")[2]),
        "admin": int(admin_url.rpartition(":")[2]),
    }
    assert [each["targetPort"] for each in kinds["Service"]["spec"]["ports"]] == ["wss"]
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["admin"])
    probes = {name: value["httpGet"] for name, value in container().items() if "Probe" in name}
    assert probes == {
        "startupProbe": {"path": "/readyz", "port": "admin"},
        "readinessProbe": {"path": "/readyz", "port": "wss", "scheme": "HTTPS"},
        "livenessProbe": {"path": "/healthz", "port": "admin"},
    }
    user, group = re.search(r"^USER (\d+):(\d+)$", text_of("Dockerfile"), re.MULTILINE).groups()  # type: ignore[union-attr]
    security = template["spec"]["securityContext"]
    assert (security["runAsUser"], security["fsGroup"]) == (int(user), int(group))


def test_manifest_mounts_the_certificate_as_a_directory() -> None:
    arguments = arguments_of(command_of_the_manifest())
    (mount,) = container()["volumeMounts"]
    assert "subPath" not in mount
    assert arguments.settings.certificate == tuple(
        f"{mount['mountPath']}/tls.{ending}" for ending in ("crt", "key")
    )
    (volume,) = manifest()["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["name"] == mount["name"]
    (command,) = (each for each in shell_commands() if "create secret tls" in each)
    assert volume["secret"]["secretName"] in command


# Prometheus


def known_metrics() -> List[str]:
    """Names on the page of the supervisor."""
    pytest.importorskip("prometheus_client")
    of_workers = [
        family.name + ("_total" if family.type == "counter" else "")
        for family in MetricsCollector(dict).describe()
    ]
    return [
        *of_workers,
        "picows_workers",
        "picows_worker_deaths_total",
        "picows_worker_memory_bytes",
    ]


def alerts() -> List[Dict[str, Any]]:
    groups = yaml.safe_load(text_of("alerts.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_alerts_are_about_metrics_that_there_are() -> None:
    used = {name for rule in alerts() for name in re.findall(r"picows_\w+", rule["expr"])}
    assert used <= {*known_metrics()}


def test_alerts_know_the_limits_of_the_service() -> None:
    (rule,) = (rule for rule in alerts() if rule["alert"] == "GatewayNearlyFull")
    of_service = shlex.split(unit("gateway.service")["Service"]["ExecStart"])
    for command in (of_service, command_of_the_manifest()):
        limit = arguments_of(command).settings.server_options["max_connections"]
        assert rule["expr"].endswith(f"* {limit}")


@needs("promtool")
def test_promtool(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "prometheus-kubernetes.yml", "alerts.yml"):
        shutil.copy(GATEWAY / name, tmp_path)
    # Debian's cannot look for pods.
    path = tmp_path / "prometheus-kubernetes.yml"
    config = yaml.safe_load(path.read_text("utf-8"))
    assert config["scrape_configs"][0].pop("kubernetes_sd_configs") == [{"role": "pod"}]
    path.write_text(yaml.safe_dump(config), "utf-8")
    for name in ("prometheus.yml", "prometheus-kubernetes.yml"):
        subprocess.run(["promtool", "check", "config", name], cwd=tmp_path, check=True)
    subprocess.run(["promtool", "check", "rules", "alerts.yml"], cwd=tmp_path, check=True)


@needs("promtool")
def test_alerts(tmp_path: Path) -> None:
    """Each of them fires when it should, and none for a service that is well."""
    shutil.copy(GATEWAY / "alerts.yml", tmp_path)
    shutil.copy(ALERT_TESTS, tmp_path)
    subprocess.run(["promtool", "test", "rules", ALERT_TESTS.name], cwd=tmp_path, check=True)


def test_each_alert_has_a_test() -> None:
    tested = {
        rule["alertname"]
        for test in yaml.safe_load(ALERT_TESTS.read_text("utf-8"))["tests"]
        for rule in test["alert_rule_test"]
        if rule.get("exp_alerts")
    }
    assert tested == {rule["alert"] for rule in alerts()}


# Web servers in front


@needs("nginx")
def test_nginx(tmp_path: Path) -> None:
    """Whether it may listen, and has its folders, is not asked."""
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; include {GATEWAY}/nginx.conf; }}\n",
        "utf-8",
    )
    outcome = subprocess.run(
        ["nginx", "-t", "-p", str(tmp_path), "-c", str(config)],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    assert "syntax is ok" in outcome.stderr, outcome.stderr


@needs("caddy")
def test_caddy() -> None:
    subprocess.run(["caddy", "adapt", "--config", str(GATEWAY / "Caddyfile")], check=True)
