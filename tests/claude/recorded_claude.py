#!/usr/bin/env python3
"""Replay a recording of the ``claude`` command: write and read the same lines in the same order.

The recording is ``recording.jsonl`` beside this file. What is read is written to ``received.jsonl``.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    code = 0
    with (HERE / "received.jsonl").open("a", encoding="utf-8") as received:
        for line in (HERE / "recording.jsonl").read_text(encoding="utf-8").splitlines():
            mark, expected = json.loads(line)
            if mark == "<":
                sys.stdout.write(json.dumps(expected) + "\n")
                sys.stdout.flush()
                if expected["type"] == "result":
                    code = int(bool(expected.get("is_error")))
                continue
            line_in = sys.stdin.readline()
            received.write(line_in)
            received.flush()
            if not line_in or json.loads(line_in)["type"] != expected["type"]:
                sys.stderr.write(f"expected {expected['type']}, received {line_in[:200]}\n")
                return 3
        sys.stdin.read()
    return code


if __name__ == "__main__":
    sys.exit(main())
