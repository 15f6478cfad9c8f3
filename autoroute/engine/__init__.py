"""The engine: carries one task through the phases, as a generator of events.

    pipeline.py        from phase to phase; the only entry       context.py          what a sitting works with; fixed
    phase_handlers.py  what each phase does                      sitting.py          context, state, waits, budget
    verification.py    verify commands and what they show        setup.py            the user's set-up commands
    baseline.py        verify commands before the work           canary.py           does a command test the change?
    command_outcomes.py  what a command's result means           failing_tests.py    their names, from any test runner
    approval.py        the gate after a phase                    replay.py           events applied to the state
    publish.py         the commits, fetched into the repository  typed_artifacts.py  artifacts of the state as models
    agent.py           a conversation and its tools              ending.py           the last event, in words
    turns.py           a request and its reply                   policy.py           who decides; clock; retries
    model_session.py   the model that serves a phase             budget.py           what a run may spend
    recovery.py        when a provider cannot continue           prompted_tools.py   models that call no tools
    compaction.py      conversations that outgrow a window       ports.py            what the engine needs of providers

It does no I/O of its own and knows no vendor: models, workspace, tools, clock and decisions come in as arguments,
events go out by ``yield``. What events mean is in ``autoroute.state``. The consumer records each event before it asks
for the next, so the order on disk follows from the generator.
"""
