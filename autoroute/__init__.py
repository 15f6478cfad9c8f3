"""autoroute: one task, four phases, each on the provider and model chosen for it.

    cli/         what a person types: Typer commands, thin; the composition root

    config/      what a run will do: files, env, flags -> RunConfig and Secrets; the only reader of env
    preflight/   what is proved before a token is spent
    engine/      how a run proceeds: pipeline, agent loop, policy
    store/       what is remembered: run folder, journal, receipt
    render/      what a person sees: live (Rich), plain, jsonl

    providers/   who can be asked: built-in profiles, model catalog, credentials
    wire/        how models are spoken to: one transport, one file a protocol
    tools/       what models may do: read, write, edit, bash, grep, find, ask, submit

    phases/      what each phase asks for and gives: table, transitions, artifacts, prompts
    workspace/   where models work: private clone, checkpoints, commands
    demo/        a provider to practise on: loopback model server, scripted models, a small task

    events.py routing.py messages.py errors.py   the words that all of them share
    parsing.py invisible.py                         how texts of others are read, and what hides in them

Values go down as arguments, events come up by ``yield``, decisions go down through one callable.
Imports point down these floors and never up; ``tests/test_architecture.py`` holds that.
"""

__version__ = "0.1.0"
