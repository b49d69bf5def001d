"""Run Autobahn|Testsuite against picows and compare with the committed results.

    python tests/conformance/run_autobahn.py [--side server|client] [--loop asyncio|uvloop]
        [--compression [--plain-zlib]]

Groups 1 to 10 against a server and a client that echo messages, each with the default options; or,
with ``--compression``, groups 12 and 13 with permessage-deflate and every message compressed, on
the client too. Fails on every difference from ``expected/<part>-<side>.json``, which also holds the
reason for every result that is not OK; ``--write`` brings these files up to date.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Coroutine, Dict, Iterator, List, NamedTuple, Optional

from picows_client import ws_connect
from picows_codec import WSMessage, WSMessageListener, WSPermessageDeflate, WSTransport
from picows_server import ws_create_server

HERE = Path(__file__).resolve().parent
START_TIMEOUT = 30.0
AGENT = "picows"
SIDES = ("server", "client")

# One case: what the suite says about the frames, about the end, and the close code it got (null
# if there was none); in the part about compression also whether what it received was compressed.
Result = Dict[str, Any]


class Part(NamedTuple):
    """Some groups of cases, and what they are run with."""

    name: str
    groups: List[str]
    compression: Optional[WSPermessageDeflate]
    side_timeout: float  # seconds; a frozen side must not stop the others for long


# A side takes less than one minute.
FRAMES = Part("frames", [f"{group}.*" for group in range(1, 11)], None, 600.0)
# A side takes six minutes, in which the suite itself is busy: it sends 11 GB.
COMPRESSION = Part(
    "compression",
    ["12.*", "13.*"],
    WSPermessageDeflate(client_compresses=True, min_size=0),
    3600.0,
)
PARTS = (FRAMES, COMPRESSION)


class EchoListener(WSMessageListener):
    """Sends every message back."""

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        transport.send(message.opcode, message)


class AnswerListener(WSMessageListener):
    """Keeps the one message that a command of the suite is answered with."""

    def __init__(self) -> None:
        self.answer = ""

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.answer = message.get_payload_as_utf8_text()


# Running the suite


async def run_server(part: Part, wstest: str, work: Path) -> Dict[str, Result]:
    """Let the suite's client try our server."""
    reports = work / "reports"
    async with ws_create_server(
        "ws://127.0.0.1:0", EchoListener, compression=part.compression
    ) as server:
        spec = {
            "outdir": str(reports),
            "servers": [{"agent": AGENT, "url": server.url}],
            "cases": part.groups,
        }
        suite = await start_suite(wstest, work, "fuzzingclient", spec)
        try:
            await asyncio.wait_for(suite.wait(), part.side_timeout)
        finally:
            await stop_suite(suite)
    return read_reports(part, reports)


async def run_client(part: Part, wstest: str, work: Path) -> Dict[str, Result]:
    """Let the suite's server try our client."""
    reports = work / "reports"
    url = f"ws://127.0.0.1:{free_port()}"
    spec = {"outdir": str(reports), "url": url, "cases": part.groups}
    suite = await start_suite(wstest, work, "fuzzingserver", spec, "--webport=0")
    try:
        await asyncio.wait_for(run_client_cases(part, url, suite), part.side_timeout)
    finally:
        await stop_suite(suite)
    return read_reports(part, reports)


async def run_client_cases(part: Part, url: str, suite: asyncio.subprocess.Process) -> None:
    """Go through the cases that the suite offers, and let it write its reports."""
    count = int(await ask(f"{url}/getCaseCount", suite))
    for case in range(1, count + 1):
        transport, _ = await ws_connect(
            f"{url}/runCase?case={case}&agent={AGENT}", EchoListener, compression=part.compression
        )
        await transport.wait_disconnected()
    await ask(f"{url}/updateReports?agent={AGENT}", suite)


async def ask(url: str, suite: asyncio.subprocess.Process) -> str:
    """Connect, once the suite listens, and return what it has to say."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            transport, listener = await ws_connect(url, AnswerListener)
        except ConnectionRefusedError:
            if suite.returncode is not None or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            await transport.wait_disconnected()
            return listener.answer


async def start_suite(
    wstest: str, work: Path, mode: str, spec: Dict[str, Any], *arguments: str
) -> asyncio.subprocess.Process:
    """Start ``wstest``; what it prints goes into a file beside the reports."""
    spec_file = work / f"{mode}.json"
    spec_file.write_text(json.dumps(spec, indent=1), encoding="utf-8")
    with (work / f"{mode}.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            wstest, f"--mode={mode}", f"--spec={spec_file}", *arguments, stdout=log, stderr=log
        )


async def stop_suite(suite: asyncio.subprocess.Process) -> None:
    """End the suite if it still runs."""
    if suite.returncode is None:
        suite.kill()
        await suite.wait()


def free_port() -> int:
    """A port that nobody listens on, a moment ago: the suite cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_reports(part: Part, reports: Path) -> Dict[str, Result]:
    """The suite's index, reduced to what must stay the same."""
    index = json.loads((reports / "index.json").read_text(encoding="utf-8"))
    results = {}
    for case, found in index[AGENT].items():
        result = {
            "behavior": found["behavior"],
            "behaviorClose": found["behaviorClose"],
            "closeCode": found["remoteCloseCode"],
        }
        if part.compression is not None:
            report = json.loads((reports / found["reportfile"]).read_text(encoding="utf-8"))
            result["compressed"] = was_compressed(report["trafficStats"])
        results[case] = result
    return results


def was_compressed(traffic: Optional[Dict[str, Any]]) -> bool:
    """Whether the suite got messages in payloads of other sizes; it counts if a case succeeds."""
    return traffic is not None and (
        traffic["incomingOctetsWebSocketLevel"] != traffic["incomingOctetsAppLevel"]
    )


# Comparing


def expected_file(part: Part, side: str) -> Path:
    """Where the committed results of a side are."""
    return HERE / "expected" / f"{part.name}-{side}.json"


def read_expected(part: Part, side: str) -> Dict[str, Result]:
    """The committed results; one that is not OK also has a ``reason``."""
    text = expected_file(part, side).read_text(encoding="utf-8")
    expected: Dict[str, Result] = json.loads(text)
    return expected


def differences(expected: Dict[str, Result], found: Dict[str, Result]) -> Iterator[str]:
    """Every way in which two sets of results differ, a line each."""
    for case in sorted({*expected, *found}, key=case_order):
        wanted = {key: value for key, value in expected.get(case, {}).items() if key != "reason"}
        if wanted != found.get(case, {}):
            yield f"{case}: expected {describe(wanted)}, found {describe(found.get(case, {}))}"


def describe(result: Result) -> str:
    """A result in one line."""
    if not result:
        return "nothing"
    plain = "" if result.get("compressed", True) else ", not compressed"
    return "{behavior}/{behaviorClose} {closeCode}".format(**result) + plain


def case_order(case: str) -> List[int]:
    """Sorts cases as numbers."""
    return [int(part) for part in case.split(".")]


def is_ok(result: Result) -> bool:
    """Whether the suite has nothing to remark."""
    return bool(result["behavior"] == "OK" and result["behaviorClose"] == "OK")


def write_expected(part: Part, side: str, found: Dict[str, Result]) -> None:
    """Make the results the committed ones; reasons that are there stay."""
    file = expected_file(part, side)
    known = read_expected(part, side) if file.exists() else {}
    lines = []
    for case in sorted(found, key=case_order):
        result = dict(found[case])
        if not is_ok(result):
            result["reason"] = known.get(case, {}).get("reason", "")
        lines.append(f"{json.dumps(case)}: {json.dumps(result)}")
    file.parent.mkdir(exist_ok=True)
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def table(side: str, found: Dict[str, Result]) -> str:
    """The results of a side, a line for each group, then every one that is not OK."""
    by_group: Dict[int, Counter[str]] = {}
    for case, result in found.items():
        verdict = result["behavior"]
        if verdict == "OK" and not is_ok(result):
            verdict = f"end {result['behaviorClose']}"
        by_group.setdefault(case_order(case)[0], Counter())[verdict] += 1
    lines = [f"{side}: {len(found)} cases"]
    for group, verdicts in sorted(by_group.items()):
        counts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verdicts.items()))
        lines.append(f"  group {group:2}  {counts}")
    remarked = sorted((case for case in found if not is_ok(found[case])), key=case_order)
    return "\n".join([*lines, *(f"  {case}: {describe(found[case])}" for case in remarked)])


# The command


def main() -> None:
    """Install the suite if need be, run what was asked for, and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--side", choices=SIDES, action="append", help="default: both")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--compression", action="store_true", help="groups 12 and 13 instead")
    parser.add_argument(
        "--plain-zlib", action="store_true", help="compress with it even if there are faster ones"
    )
    parser.add_argument("--write", action="store_true", help="write the expected results")
    parser.add_argument(
        "--work",
        type=Path,
        default=HERE.parents[1] / ".tox" / "autobahn",
        help="directory of the installed suite and of its reports (%(default)s)",
    )
    arguments = parser.parse_args()
    # What a hostile peer does is not news here.
    logging.getLogger("picows").setLevel(logging.CRITICAL)
    work: Path = arguments.work.resolve()
    wstest = installed_suite(work)
    if arguments.plain_zlib:
        # Imports of them fail, as if they were not installed.
        sys.modules.update(dict.fromkeys(("isal", "zlib_ng")))  # type: ignore[arg-type]
    part = COMPRESSION if arguments.compression else FRAMES
    failures = 0
    for side in arguments.side or SIDES:
        reports = work / f"{part.name}-{side}-{arguments.loop}"
        shutil.rmtree(str(reports), ignore_errors=True)
        reports.mkdir(parents=True)
        run_side = run_server if side == "server" else run_client
        started = time.monotonic()
        found = run(arguments.loop, run_side(part, wstest, reports))
        print(table(side, found))
        if part.compression is not None:
            print(f"  {libraries(part.compression)}")
        print(f"  {arguments.loop}, {time.monotonic() - started:.0f} seconds")
        if arguments.write:
            write_expected(part, side, found)
        changed = list(differences(read_expected(part, side), found))
        print("\n".join(changed) or "  as expected", flush=True)
        failures += len(changed)
    sys.exit(f"{failures} results differ from those expected" if failures else 0)


def libraries(compression: WSPermessageDeflate) -> str:
    """What deflated and inflated."""
    from picows_codec.deflate import engine  # noqa: PLC0415  it chooses when it is imported

    deflating = engine.deflating_name(compression.level)
    small, large = engine.inflating_name(0), engine.inflating_name(65536)
    return f"deflated by {deflating}, inflated by {small} (small messages) and {large}"


def installed_suite(work: Path) -> str:
    """Install the suite below ``work`` and return the path of its command."""
    install = [sys.executable, str(HERE / "install_autobahn.py"), str(work)]
    outcome = subprocess.run(install, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if outcome.returncode:
        sys.exit(outcome.returncode)
    return outcome.stdout.strip()


def run(loop: str, side: Coroutine[Any, Any, Dict[str, Result]]) -> Dict[str, Result]:
    """Run a side on a new loop of the kind that was asked for."""
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415  an extra

        new_loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        new_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(new_loop)
    try:
        return new_loop.run_until_complete(side)
    finally:
        asyncio.set_event_loop(None)
        new_loop.close()


if __name__ == "__main__":
    main()
