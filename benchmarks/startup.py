"""The time of ``autoroute --help``, beside ``import typer`` alone and a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "autoroute --help": ["-m", "autoroute", "--help"],
    "autoroute run --help": ["-m", "autoroute", "run", "--help"],
}


def main() -> None:
    """Print the median of each command, and its ratio to importing Typer."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - started)
    floor = statistics.median(times["import typer"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:<22} {median * 1000:7.1f} ms   {median / floor:5.2f} x import typer")


if __name__ == "__main__":
    main()
