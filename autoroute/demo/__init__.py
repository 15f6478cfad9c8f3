"""A provider to practise on: a loopback model server, scripted models, and a small task with a real bug.

    script.py   what a scripted model says, as a pure function of the conversation
    server.py   the vendors' side of the wires over real HTTP; rules.py holds what it insists on
    story.py    the demo's repository and the script that works on it

It shares no code with ``wire/``: what it accepts and sends is written from the vendors' documentation, and that is
what makes it a judge in the tests.
"""
