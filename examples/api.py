"""Run a task from Python: plan with one provider, code with another, and print what happens.

    python examples/api.py task.md --plan opus-4.5 --code glm-4.7

The exit code is the one that `autoroute run` would have.
"""

from __future__ import annotations

import argparse
import sys

import autoroute
from autoroute.events import Notice, PhaseEnded, Published


def main() -> int:
    """Parse the arguments, check everything, and run the task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--plan", default="")
    parser.add_argument("--code", default="")
    chosen = parser.parse_args()
    try:
        with autoroute.open_run(chosen.task, repository=".", plan=chosen.plan, code=chosen.code) as run:
            for event in run:
                match event:
                    case Notice():
                        print(f"{event.level}: {event.text}")
                    case PhaseEnded():
                        print(f"{event.at:%H:%M:%S} {event.phase}: {event.outcome} after {event.seconds:.1f} s")
                    case Published():
                        print(f"{event.at:%H:%M:%S} {event.commits} commits on {event.branch}")
    except autoroute.AutorouteError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return int(error.exit_code)
    result = run.result
    print(f"{result.outcome}: {result.message}")
    print(f"receipt: {result.folder / 'receipt.json'}")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
