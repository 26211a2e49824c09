"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path


def machine() -> dict[str, str]:
    """The day, the processor, the kernel, the interpreter, and how busy it was before."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "when": time.strftime("%Y-%m-%d"),
        "cpu": models[0] if models else platform.machine(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def described(machine: dict[str, str]) -> str:
    """In one line for people."""
    return (
        f"{machine['when']}, {machine['cpu']}, {machine['cores']} cores, "
        f"Linux {machine['kernel']}, Python {machine['python']}"
    )
