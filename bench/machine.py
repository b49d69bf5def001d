"""Facts about the machine that belong to a result."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Dict

__all__ = ["machine_facts"]


def machine_facts() -> Dict[str, Any]:
    """Return processor, cores, memory and kernel; nothing that names the machine."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGESIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "virtual": "hypervisor" in _cpu_line("flags").split(),
        "threads_per_core": _threads_per_core(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def _processor() -> str:
    return _cpu_line("model name") or platform.machine()


def _cpu_line(name: str) -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _threads_per_core() -> int:
    siblings = _read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    first, dash, last = siblings.partition("-")
    if dash:
        return int(last) - int(first) + 1
    return siblings.count(",") + 1


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
