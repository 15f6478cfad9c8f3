#!/usr/bin/env python3
"""Plays a recording of the ``claude`` command: says what it said, and hears what it was told, in the same order.

The recording stands beside it as ``recording.jsonl``; what it hears is written to ``heard.jsonl``.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    code = 0
    with (HERE / "heard.jsonl").open("a", encoding="utf-8") as heard:
        for line in (HERE / "recording.jsonl").read_text(encoding="utf-8").splitlines():
            mark, expected = json.loads(line)
            if mark == "<":
                sys.stdout.write(json.dumps(expected) + "\n")
                sys.stdout.flush()
                if expected["type"] == "result":
                    code = int(bool(expected.get("is_error")))
                continue
            told = sys.stdin.readline()
            heard.write(told)
            heard.flush()
            if not told or json.loads(told)["type"] != expected["type"]:
                sys.stderr.write(f"expected {expected['type']}, was told {told[:200]}\n")
                return 3
        sys.stdin.read()
    return code


if __name__ == "__main__":
    sys.exit(main())
