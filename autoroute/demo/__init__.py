"""A provider to practice on: a loopback model server, scripted models, and a small task with a real bug.

    script.py        the replies of a scripted model, a pure function of the conversation
    server.py        the vendors' side of the wires over HTTP, with faults on request
    dialects.py      the replies and errors of each wire
    rules.py         the rules of the vendors for requests
    simulations.py   failures in the words of each vendor
    story.py         the demo's repository, and the script that works on it

It shares no code with ``wire/``. What it accepts and sends is written from the vendors' documentation, so the tests
can judge ``wire/`` by it.
"""
