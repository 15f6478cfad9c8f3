"""How a run proceeds: ``pipeline.py`` walks the phases, ``agent.py`` holds the conversations, ``policy.py`` decides
what an error or a question leads to.

The engine does no I/O of its own and knows no vendor: models, workspace, tools, clock and decisions come in as
arguments, events go out by ``yield``. Whoever consumes an event stores it before asking for the next, and so the
order on disk falls out of the seam.
"""
