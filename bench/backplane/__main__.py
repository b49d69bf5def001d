"""Measures topics: in one process, and through engines beside client libraries and other gateways.

    python -m bench.backplane [--only NAME ...] [--gateways NAME ...] [--rounds N] ...

``--help`` explains the options, README.md what is measured and how. Once everything is installed it
takes eight minutes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Dict, List

from bench.backplane.cases import Case, choose_cases
from bench.backplane.docs import RESULTS, write_docs
from bench.backplane.engines import engine_versions
from bench.backplane.gateways import GATEWAYS, OURS_LIBRARY, Gateway, choose_gateways
from bench.backplane.measure import EngineBench, EngineSettings
from bench.backplane.report import method_text, print_case, print_topics, write_markdown
from bench.backplane.results import CaseResult, EngineResults
from bench.machine import machine_facts
from bench.peers.install import Installation, Installed, NotAvailable, Ours, python_environment
from bench.processes import Failed, Process, allow_many_files
from bench.quiet import Observer
from bench.report import new_console

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
TOPICS_TIMEOUT = 300.0  # seconds
# Words of the command line that are of this machine.
OF_MACHINE = ("--work", "--output", "--python", "--python-path")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.backplane", description=(__doc__ or "").partition("\n")[0]
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="case, with * and ? for any letters; may be repeated (default: all)",
    )
    what.add_argument(
        "--gateways",
        default="",
        metavar="NAME[,NAME...]",
        help="who takes part (default: those that each case names)",
    )
    what.add_argument("--list", action="store_true", help="list cases and gateways, and end")
    what.add_argument("--no-topics", action="store_true", help="nothing without an engine")
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    for name, text in (
        ("seconds", "of each measurement"),
        ("latency-seconds", "of those of latency"),
        ("warmup", "seconds before it"),
    ):
        default = getattr(EngineSettings, name.replace("-", "_"))
        how.add_argument(f"--{name}", type=float, default=default, help=f"{text} ({default})")
    how.add_argument("--gateway-core", type=int, default=0, help="default: %(default)s")
    how.add_argument(
        "--other-core", type=int, default=1, help="of everything else (default: %(default)s)"
    )
    how.add_argument(
        "--retries",
        type=int,
        default=1,
        help="of a measurement that other load disturbs (default: %(default)s)",
    )
    where = parser.add_argument_group("where, as with bench.run")
    where.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    where.add_argument(
        "--output", type=Path, default=RESULTS, help="only the default goes into the docs, too"
    )
    where.add_argument("--renew", action="store_true")
    where.add_argument("--python", type=Path, metavar="PATH")
    where.add_argument("--python-path", default="", metavar="DIRS")
    return parser.parse_args()


def main() -> None:
    """Run the bench."""
    arguments = parse_arguments()
    try:
        cases = choose_cases(arguments.only)
        wanted = choose_gateways([name for name in arguments.gateways.split(",") if name])
    except ValueError as error:
        sys.exit(str(error))
    console = new_console()
    if arguments.list:
        for case in cases:
            console.print(f"{case.name:<20}{case.title}: {', '.join(case.gateways)}")
        return
    allow_many_files()
    results = EngineResults()
    if arguments.output.exists():
        results = EngineResults.load(arguments.output)
    ours = Ours(arguments.python, arguments.python_path)
    installation = Installation(arguments.work.resolve(), ours, renew=arguments.renew)
    plan = {case: wanted or [GATEWAYS[name] for name in case.gateways] for case in cases}
    installed = install(installation, plan, results)
    results.machine = machine_facts()
    results.versions["engines"] = engine_versions()
    settings = EngineSettings(
        seconds=arguments.seconds,
        latency_seconds=arguments.latency_seconds,
        warmup=arguments.warmup,
        gateway_core=arguments.gateway_core,
        other_core=arguments.other_core,
        retries=arguments.retries,
    )
    if not arguments.no_topics:
        results.topics = measure_topics(installation, settings)
        results.save(arguments.output)
        print_topics(console, results)
    observer = Observer(
        installation.native("calibrate"), (settings.gateway_core, settings.other_core)
    )
    bench = EngineBench(
        installation.work, installed, installation.native("subscribers"), observer, settings
    )
    for case, gateways in plan.items():
        result = measure_case(bench, case, gateways, arguments.rounds, settings)
        results.cases[case.name] = result
        results.save(arguments.output)
        print_case(console, result)
    console.print(method_text(results), highlight=False)
    write_markdown(results, arguments.output.with_suffix(".md"))
    if arguments.output.resolve() == RESULTS:
        write_docs(results)
    console.print(f"written: {os.path.relpath(arguments.output)}, tables beside it")


def install(
    installation: Installation, plan: Dict[Case, List[Gateway]], results: EngineResults
) -> Dict[str, Installed]:
    """Install the libraries of the gateways; what cannot be had is left out and noted."""
    installed: Dict[str, Installed] = {}
    adapters: Dict[str, Installed] = {}
    for gateway in dict.fromkeys(gateway for found in plan.values() for gateway in found):
        library = gateway.library
        if library.adapter not in adapters:
            try:
                adapters[library.adapter] = installation.install(library)
            except NotAvailable as error:
                if library.name == OURS_LIBRARY.name:
                    sys.exit(f"{library.name} cannot be built: {error}")
                results.missing[library.name] = str(error).splitlines()[0]
                print(f"{library.name} does not take part: {error}", file=sys.stderr)
                continue
            results.versions[library.name] = adapters[library.adapter].versions
            results.missing.pop(library.name, None)
        installed[gateway.name] = adapters[library.adapter]
    return installed


def measure_topics(installation: Installation, settings: EngineSettings) -> List[Dict[str, str]]:
    """Measure what needs no engine, by the interpreter that has our wheels."""
    installed = installation.install(OURS_LIBRARY)
    print("topics in one process", file=sys.stderr, flush=True)
    command = [installed.server[0], "-m", "bench.micro.topics", "--json"]
    environment = python_environment(installation.work, installed.environment)
    log = installation.work / "topics.log"
    with Process(command, settings.gateway_core, environment, log) as process:
        rows: List[Dict[str, str]] = process.read(TOPICS_TIMEOUT)["rows"]
    return rows


def measure_case(
    bench: EngineBench,
    case: Case,
    gateways: List[Gateway],
    rounds: int,
    settings: EngineSettings,
) -> CaseResult:
    """Measure all rounds; a gateway that fails is out of the case, and the report says so."""
    kept = {name: value for name, value in asdict(settings).items() if name != "limits"}
    result = CaseResult(
        case.name,
        command=public_command(),
        when=time.strftime("%Y-%m-%d", time.gmtime()),
        settings={**kept, "rounds": rounds},
    )
    print(case.name, file=sys.stderr, flush=True)
    for _ in range(rounds):
        for gateway in gateways:
            if gateway.name in result.failures or not bench.can_play(gateway):
                continue
            try:
                sample = bench.measure(case, gateway)
            except Failed as error:
                result.failures[gateway.name] = str(error)
                result.rounds.pop(gateway.name, None)
                print(f"{case.name}: {gateway.name}: {error}", file=sys.stderr)
            else:
                result.rounds.setdefault(gateway.name, []).append(sample)
    return result


def public_command() -> str:
    """Return the command as others can give it: without this machine's paths."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word.split("=")[0] not in OF_MACHINE:
            kept.append(word)
        elif "=" not in word:
            next(words, None)
    return shlex.join(["python", "-m", "bench.backplane", *kept])


if __name__ == "__main__":
    main()
