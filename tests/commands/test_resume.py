"""``autoroute resume``, ``--until`` and gates: finished work is kept, the rest continues, and changes are reported."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoroute.demo.script import Rule, Script, ScriptedReply
from autoroute.demo.server import Fault
from autoroute.store.journal import read_events
from tests.commands import scripts
from tests.commands.conftest import KEY_ENV, Result, World, wait_for

RUN = ("run", "task.md", "--plan", "sonnet")
LIMITED = Fault(
    "status",
    status=429,
    body={"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down, please."}},
    headers={"retry-after": "3600"},
)


def limited(offers: str) -> Fault:
    return replace(LIMITED, offers=offers)


def stop(world: World, offers: str = "edit", **options: Any) -> Result:
    """Start a run that a limit stops in a phase."""
    world.provide("anthropic", scripts.rules(**options), faults=[limited(offers)])
    result = world.autoroute(*RUN, "--max-wait", "0")
    assert result.code == 75, result.stderr
    for path in (world.home / "state/autoroute/cooldowns").glob("*.json"):
        path.unlink()
    return result


def events(world: World) -> list[Any]:
    return read_events(world.run_folder() / "events.jsonl")


def receipt(world: World) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((world.run_folder() / "receipt.json").read_text())
    return data


def count_answers(world: World, vendor: str, offers: str) -> int:
    """Return how many requests that offer a tool were answered."""
    requests = world.servers[vendor].turns
    return sum(offers in json.dumps(request.body["tools"]) for request in requests if request.status == 200)


def test_a_stopped_run_prints_the_resume_command(world: World) -> None:
    result = stop(world)
    name = world.run_folder().name
    assert f"resume: autoroute resume {name}" in result.stderr
    assert world.autoroute("resume", name[:12]).code == 0


def test_finished_phases_are_not_paid_again_and_the_receipt_covers_all_sittings(world: World) -> None:
    stop(world)
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert [count_answers(world, "anthropic", tool) for tool in ("submit_spec", "submit_plan", "submit_review")] == [
        1,
        1,
        1,
    ]
    found = receipt(world)
    assert (found["resumed"], found["outcome"], found["verdict"]) == (1, "approved", "approved")
    assert [row["phase"] for row in found["phases"]] == ["spec", "planning", "coding", "qa"]
    assert json.loads(world.autoroute("runs", "--json").stdout)[0]["state"] == "approved"


def test_resume_may_use_another_model_for_the_remaining_phases(world: World) -> None:
    stop(world)
    world.provide("zai", scripts.rules())
    result = world.autoroute("resume", "--code", "glm-4.7")
    assert result.code == 0, result.stderr
    assert "coding continues with zai/glm-4.7, not anthropic/claude-sonnet-5-5 (from --code)" in result.stderr
    assert "spec anthropic/claude-sonnet-5-5, planning anthropic/claude-sonnet-5-5, coding zai/glm-4.7" in result.stderr
    assert {(row["phase"], row["provider"]) for row in receipt(world)["phases"]} == {
        ("spec", "anthropic"),
        ("planning", "anthropic"),
        ("coding", "anthropic"),
        ("coding", "zai"),
        ("qa", "anthropic"),
    }


def test_the_flags_of_a_sitting_apply_to_the_next_one(world: World) -> None:
    stop(world)
    world.provide("zai", scripts.rules(), faults=[limited("edit")])
    assert world.autoroute("resume", "--code", "glm-4.7", "--max-wait", "0").code == 75
    for path in (world.home / "state/autoroute/cooldowns").glob("*.json"):
        path.unlink()
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert count_answers(world, "zai", "edit") == 2


def test_a_changed_task_and_a_moved_branch_are_reported(world: World) -> None:
    stop(world)
    world.task("# Something else\n\nEntirely.\n")
    world.git("commit", "--quiet", "--allow-empty", "--message=Meanwhile")
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert "task.md has changed since the run started: the run continues with the task as it was" in result.stderr
    assert "HEAD has moved to" in result.stderr
    assert world.git("rev-list", "--count", f"main..{receipt(world)['branch']}") == "1"


def test_an_approved_run_has_nothing_left_to_do(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN).code == 0
    asked = len(world.servers["anthropic"].requests)
    result = world.autoroute("resume")
    assert (result.code, len(world.servers["anthropic"].requests)) == (0, asked)
    assert "nothing is left to do" in result.stdout


def test_resume_finishes_the_cleanup_of_an_approved_run(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN).code == 0
    written = {name: (world.run_folder() / name).read_bytes() for name in ("run.json", "receipt.json")}
    (world.run_folder() / "run.json").unlink()
    (world.run_folder() / "receipt.json").write_text("{")
    (token,) = (world.home / "state/autoroute/runs").iterdir()
    workspace = world.home / "state/autoroute/workspaces" / token.name
    (workspace / "tree").mkdir(parents=True)
    assert world.autoroute("resume").code == 0
    assert {name: (world.run_folder() / name).read_bytes() for name in written} == written
    assert not workspace.exists()


def test_resume_without_any_run_is_an_error(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute("resume")
    assert result.code == 73
    assert "no runs in" in result.stderr


def test_a_run_cannot_be_resumed_twice_at_the_same_time(world: World) -> None:
    stop(world)
    world.provide("anthropic", scripts.rules(), faults=[Fault("stall", offers="edit")])
    with world.start("resume", "--format", "jsonl") as first:
        wait_for(first, "turn_started", phase="coding")
        second = world.autoroute("resume")
        first.terminate()
        first.communicate(timeout=100)
    assert second.code == 73
    assert f"is already running in process {first.pid} (autoroute resume --format jsonl)" in second.stderr
    assert first.returncode == 143
    assert world.autoroute("resume").code == 0


def test_a_missing_workspace_is_an_error_and_not_a_fresh_start(world: World) -> None:
    stop(world)
    shutil.rmtree(world.home / "state/autoroute/workspaces")
    result = world.autoroute("resume")
    assert result.code == 73
    assert "the workspace of this run is gone" in result.stderr
    assert "autoroute run TASK" in result.stderr
    assert "autoroute resume" not in result.stderr + result.stdout


def test_a_missing_base_commit_ends_the_run_with_a_hint_that_works(world: World) -> None:
    stop(world)
    world.git("checkout", "--quiet", "--orphan", "new")
    world.git("commit", "--quiet", "--message=Begin anew")
    for branch in world.git("for-each-ref", "--format=%(refname)").splitlines():
        if branch != "refs/heads/new":
            world.git("update-ref", "-d", branch)
    world.git("reflog", "expire", "--expire=now", "--all")
    world.git("gc", "--quiet", "--prune=now")
    result = world.autoroute("resume")
    assert result.code == 73
    assert "the commit that this run started from is gone from the repository" in result.stderr
    assert "autoroute run TASK" in result.stderr
    assert "autoroute resume" not in result.stderr + result.stdout


def test_used_attempts_stay_used_and_another_model_has_attempts_of_its_own(world: World) -> None:
    useless = (scripts.write("wrong\n"), scripts.DONE, scripts.DONE, scripts.DONE, scripts.DONE)
    anthropic = world.provide("anthropic", scripts.rules(code=useless))
    first = world.autoroute(*RUN)
    assert first.code == 11, first.stderr
    assert "autoroute resume" in first.stderr
    asked = len(anthropic.turns)
    again = world.autoroute("resume")
    assert again.code == 11
    assert len(anthropic.turns) == asked, "no turn is paid for attempts that are used up"
    late = (scripts.write(), scripts.DONE)
    world.provide("zai", Script((Rule("edit", "", (*useless[:3], *late)), *scripts.rules().rules)))
    result = world.autoroute("resume", "--code", "glm-4.7")
    assert result.code == 0, result.stderr
    assert world.git("show", f"{receipt(world)['branch']}:hello.txt") == "hello, world"


def test_a_rejected_run_continues_if_it_is_allowed_another_round(world: World) -> None:
    reviews = (scripts.review("rejected"), scripts.review("approved"))
    world.provide("anthropic", scripts.rules(reviews=reviews))
    world.configure({**settings(world), "limits": {"max_rounds": 1}})
    assert world.autoroute(*RUN).code == 10
    assert world.autoroute("resume").code == 10
    world.configure({**settings(world), "limits": {"max_rounds": 2}})
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr


def settings(world: World) -> dict[str, Any]:
    return {"providers": {name: {"base_url": f"{s.url}/{name}/base"} for name, s in world.servers.items()}}


def test_a_run_that_reached_its_budget_continues_with_a_larger_one(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    stopped = world.autoroute(*RUN, "--budget", "0.001")
    assert stopped.code == 12, stopped.stderr
    assert "autoroute resume" in stopped.stderr
    assert world.autoroute("resume").code == 12
    assert world.autoroute("resume", "--budget", "50").code == 0


def test_until_stops_after_the_phase_and_resume_continues(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "--until", "plan")
    assert result.code == 13, result.stderr
    assert "stopped after planning, as asked" in result.stdout
    assert count_answers(world, "anthropic", "edit") == 0
    assert (world.run_folder() / "plan.json").exists()
    assert world.autoroute("resume").code == 0
    assert count_answers(world, "anthropic", "submit_plan") == 1


def test_a_gate_without_a_terminal_ends_with_exit_13_and_approve_passes_it(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    result = world.autoroute(*RUN, "--gate", "planning")
    assert result.code == 13, result.stderr
    name = world.run_folder().name
    assert "planning is done and waits for approval" in result.stdout
    assert f"autoroute resume {name} --approve" in result.stderr
    assert world.autoroute("resume").code == 13
    approved = world.autoroute("resume", "--approve")
    assert approved.code == 0, approved.stderr
    assert receipt(world)["gates"] == [{"phase": "planning", "decision": "approved", "words": ""}]
    assert count_answers(world, "anthropic", "submit_plan") == 1


def test_the_run_continues_with_an_edited_artifact(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "plan").code == 13
    path = world.run_folder() / "plan.json"
    plan = json.loads(path.read_text())
    plan["subtasks"][0]["title"] = "Write it by hand"
    path.write_text(json.dumps(plan))
    assert world.autoroute("resume", "--approve").code == 0
    assert world.git("log", "-1", "--format=%s", receipt(world)["branch"]) == "Write it by hand"


def test_an_invalid_edited_artifact_is_refused_with_the_reason_and_kept(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "plan").code == 13
    path = world.run_folder() / "plan.json"
    good = path.read_text()
    plan = json.loads(good)
    plan["subtasks"][0]["acceptance"] = ["A9"]
    path.write_text(json.dumps(plan))
    refused = world.autoroute("resume", "--approve")
    assert refused.code == 78
    assert "acceptance has 'A9', which is not one of the spec's" in refused.stdout
    path.write_text("{ no json")
    assert world.autoroute("resume", "--approve").code == 73
    path.write_text(good)
    assert world.autoroute("resume", "--approve").code == 0


def test_a_rejected_artifact_is_made_again_with_the_words_of_the_rejection(world: World) -> None:
    server = world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "plan").code == 13
    result = world.autoroute("resume", "--reject", "It is two commits: split it.")
    assert result.code == 13, result.stderr
    planning = [request for request in server.turns if "submit_plan" in json.dumps(request.body["tools"])]
    assert len(planning) == 2
    assert "It is two commits: split it." in json.dumps(planning[1].body["messages"])
    assert world.autoroute("resume", "--approve").code == 0


@pytest.mark.parametrize("gate", ["coding", "qa"])
def test_a_rejected_change_returns_to_coding_with_the_words_as_its_review(world: World, gate: str) -> None:
    server = world.provide("anthropic", scripts.rules(repair=(scripts.write("hello, world!\n"), scripts.DONE)))
    world.configure({**settings(world), "limits": {"max_rounds": 1}})
    assert world.autoroute(*RUN, "--gate", gate).code == 13
    result = world.autoroute("resume", "--reject", "Shout.")
    assert result.code == 13, result.stderr
    assert "Shout." in json.dumps([request.body for request in server.turns][-3 if gate == "qa" else -1])
    approved = world.autoroute("resume", "--approve")
    assert approved.code == 0, approved.stderr
    assert world.git("show", f"{receipt(world)['branch']}:hello.txt") == "hello, world!"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume", "--approve", "--reject", "no"), "contradict"),
        (("resume", "--approve"), "is not waiting for approval"),
        (("resume", "--reject", ""), "say what must change"),
        (("resume", "--until", "testing"), "unknown phase 'testing'"),
        ((*RUN, "--gate", "testing"), "unknown phase 'testing'"),
        ((*RUN, "--fallback", "glm-4.7"), "the phase is missing"),
        ((*RUN, "--fallback", "testing=glm-4.7"), "unknown phase 'testing'"),
    ],
)
def test_flags_that_do_not_fit_the_run_are_usage_errors(world: World, arguments: tuple[str, ...], words: str) -> None:
    stop(world)
    result = world.autoroute(*arguments)
    assert result.code == 2, result.stderr
    assert words in result.stderr


def test_an_invalid_value_of_a_recovery_flag_names_the_flag(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    for flag, value in (("--on-limit", "retry"), ("--max-wait", "soon")):
        result = world.autoroute(*RUN, flag, value)
        assert result.code == 2, result.stderr
        assert f"error: {flag}" in result.stderr


def test_a_run_that_never_began_cannot_be_resumed(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    folder = world.repository / ".autoroute/runs/20261123-000000-nothing"
    folder.mkdir(parents=True)
    (folder / "events.jsonl").touch()
    result = world.autoroute("resume")
    assert result.code == 73
    assert "stopped before its first event" in result.stderr
    assert len(events(world)) == 0


def journal(world: World) -> Path:
    return world.run_folder() / "events.jsonl"


def truncate_journal_after(world: World, words: str) -> None:
    """Truncate the journal as if the process had died right after the last record that contains these words."""
    lines = journal(world).read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if words.encode() in line)
    journal(world).write_bytes(b"".join(lines[: last + 1]))


def test_a_run_folder_from_the_repository_is_not_resumed(world: World) -> None:
    stop(world)
    asked = len(world.servers["anthropic"].requests)
    planted = world.repository / ".autoroute/runs/99999999-000000-planted"
    shutil.copytree(world.run_folder(), planted)
    result = world.autoroute("resume")
    assert result.code == 73
    assert "it was not created on this machine" in result.stderr
    assert len(world.servers["anthropic"].requests) == asked
    shutil.rmtree(planted)
    assert world.autoroute("resume").code == 0


def test_a_run_folder_with_symbolic_links_is_not_written_to(world: World) -> None:
    stop(world)
    victim = world.home / "precious"
    victim.write_text("mine\n")
    for name in ("changes.patch", "lock"):
        (world.run_folder() / name).unlink(missing_ok=True)
        (world.run_folder() / name).symlink_to(victim)
        result = world.autoroute("resume")
        assert result.code == 73, result.stderr
        (world.run_folder() / name).unlink()
    assert victim.read_text() == "mine\n"
    assert world.autoroute("resume").code == 0


def test_files_of_an_interrupted_verify_command_are_not_committed(world: World) -> None:
    cut = (
        f"touch junk.txt; test -f {world.home}/once || {{ touch {world.home}/once; kill -9 $PPID; }}; {scripts.VERIFY}"
    )
    world.provide("anthropic", scripts.rules(plan=scripts.plan(verify=cut)))
    assert world.autoroute(*RUN, "--sandbox", "off").code == -9  # in a sandbox it cannot kill autoroute
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr
    assert world.git("diff", "--name-only", "main", receipt(world)["branch"]) == "hello.txt"


def test_changes_by_qa_are_noticed_after_an_interruption_too(world: World) -> None:
    meddle = ScriptedReply(calls=(scripts.call("bash", command="echo evil >> hello.txt"),))
    rules = scripts.rules().rules[:-2]
    qa = Rule("submit_review", "", (meddle, scripts.review()))
    world.provide("anthropic", Script((*rules, qa)))
    world.configure({**settings(world), "limits": {"max_rounds": 1}})
    first = world.autoroute(*RUN)
    assert first.code == 10, first.stderr
    assert "qa approved after 1 round, but changed hello.txt" in first.stdout
    truncate_journal_after(world, '"artifact":"review"')
    assert world.autoroute("resume").code == 10


def test_another_model_has_corrections_of_its_own(world: World) -> None:
    mute = tuple(ScriptedReply(text="I think.") for _ in range(4))
    rules = [rule for rule in scripts.rules().rules if rule.offers != "submit_plan"]
    world.provide("anthropic", Script((Rule("submit_plan", "", mute), *rules)))
    first = world.autoroute(*RUN)
    assert first.code == 78
    assert "no valid plan in 4 attempts" in first.stdout
    world.provide("zai", Script((Rule("submit_plan", "", (*mute, scripts.plan())), *rules)))
    result = world.autoroute("resume", "--plan", "glm-4.7")
    assert result.code == 0, result.stderr


def test_an_interrupted_correction_is_counted_once(world: World) -> None:
    mute = tuple(ScriptedReply(text="I think.") for _ in range(3))
    rules = [rule for rule in scripts.rules().rules if rule.offers != "submit_plan"]
    world.provide("anthropic", Script((Rule("submit_plan", "", (*mute, scripts.plan())), *rules)))
    assert world.autoroute(*RUN, "--until", "plan").code == 13
    truncate_journal_after(world, '"artifact_rejected"')
    assert world.autoroute("resume").code == 0


def checksum(line: bytes) -> int:
    return int(json.loads(line)["chain"], 16)


def test_a_record_of_another_version_is_an_error_and_the_journal_stays_whole(world: World) -> None:
    stop(world)
    lines = journal(world).read_bytes().splitlines(keepends=True)
    head = lines[4].rpartition(b',"chain"')[0].replace(b'"type":"', b'"type":"future_')
    lines[4] = b'%s,"chain":"%08x"}\n' % (head, zlib.crc32(head, checksum(lines[3])))
    journal(world).write_bytes(b"".join(lines))
    result = world.autoroute("resume")
    assert result.code == 73
    assert "record 5 of the journal is not an event that autoroute" in result.stderr
    assert journal(world).read_bytes() == b"".join(lines)


def test_a_journal_of_a_newer_schema_is_an_error_and_stays_whole(world: World) -> None:
    stop(world)
    lines = journal(world).read_bytes().splitlines(keepends=True)
    head = lines[4].rpartition(b',"chain"')[0].replace(b'{"schema":1,', b'{"schema":2,')
    lines[4] = b'%s,"chain":"%08x"}\n' % (head, zlib.crc32(head, checksum(lines[3])))
    journal(world).write_bytes(b"".join(lines))
    result = world.autoroute("resume")
    assert result.code == 73
    assert "record 5 of the journal has events of schema 2; the newest that this version reads is 1" in result.stderr
    assert "hint: use the version of autoroute that wrote it" in result.stderr
    assert journal(world).read_bytes() == b"".join(lines)


def test_only_the_remaining_phases_are_checked(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    world.provide("zai", scripts.rules(), faults=[limited("edit")])
    assert world.autoroute(*RUN, "--code", "glm-4.7", "--qa", "glm-4.7", "--max-wait", "0").code == 75
    shutil.rmtree(world.home / "state/autoroute/cooldowns")
    world.environ.pop(KEY_ENV["anthropic"])
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr


def test_until_applies_to_the_next_sitting_if_the_run_stopped_before_it(world: World) -> None:
    world.provide("anthropic", scripts.rules(), faults=[limited("submit_spec")])
    stopped = world.autoroute(*RUN, "--max-wait", "0", "--until", "plan")
    assert stopped.code == 75
    assert f"autoroute resume {world.run_folder().name} --until plan" in stopped.stderr
    shutil.rmtree(world.home / "state/autoroute/cooldowns")
    reached = world.autoroute("resume", "--until", "plan")
    assert reached.code == 13
    assert "--until" not in reached.stderr
    past = world.autoroute("resume", "--until", "spec")
    assert past.code == 2
    assert "that phase is over" in past.stderr
    on = world.autoroute("resume")
    assert on.code == 0
    assert "resumes at coding" in on.stderr


def test_an_approval_applies_only_to_the_gate_that_waits(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "planning,coding").code == 13
    again = world.autoroute("resume", "--approve")
    assert again.code == 13
    assert "coding is done and waits for approval" in again.stdout


def test_the_receipt_records_that_a_person_rejected_the_change(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "qa").code == 13
    assert receipt(world)["verdict"] == "approved"
    assert world.autoroute("resume", "--reject", "Shout.", "--until", "coding").code == 13
    assert receipt(world)["verdict"] == "rejected"
    assert "qa        rejected by a person: Shout." in world.autoroute("show").stdout


def test_the_resume_command_names_the_settings_file(world: World) -> None:
    world.provide("anthropic", scripts.rules(), faults=[limited("edit")])
    config = world.home / "my settings.toml"
    (world.home / "config.toml").rename(config)
    world.environ.pop("AUTOROUTE_CONFIG")
    result = world.autoroute(*RUN, "--max-wait", "0", "--config", str(config))
    assert result.code == 75
    for shown in (result.stderr, result.stdout):
        assert f"autoroute resume {world.run_folder().name} --config '{config}'" in shown


def test_a_model_that_took_over_keeps_its_own_attempts_after_an_interruption(world: World) -> None:
    useless = (scripts.write("wrong\n"), scripts.DONE, scripts.write("wrong again\n"), scripts.DONE)
    world.provide("anthropic", scripts.rules(code=useless))
    world.configure({**settings(world), "limits": {"max_attempts": 2}})
    assert world.autoroute(*RUN).code == 11
    late = (*useless, scripts.write("still wrong\n"), scripts.DONE, scripts.write(), scripts.DONE)
    fault = replace(limited("edit"), answered=5)
    world.provide("zai", Script((Rule("edit", "", late), *scripts.rules().rules)), faults=[fault])
    world.configure({**settings(world), "limits": {"max_attempts": 2}})
    assert world.autoroute("resume", "--code", "glm-4.7", "--max-wait", "0").code == 75
    shutil.rmtree(world.home / "state/autoroute/cooldowns")
    result = world.autoroute("resume")
    assert result.code == 0, result.stderr


def test_only_remaining_phases_are_reported_to_continue_with_another_model(world: World) -> None:
    stop(world)
    world.provide("zai", scripts.rules())
    result = world.autoroute("resume", "--plan", "glm-4.7")
    assert result.code == 0, result.stderr
    assert "qa continues with zai/glm-4.7" in result.stderr
    assert "spec continues with" not in result.stderr
    assert "resumes at coding; spec anthropic/claude-sonnet-5-5" in result.stderr


def test_diff_shows_the_change_while_the_run_waits_for_its_approval(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "coding").code == 13
    kinds = [event.type for event in events(world)]
    assert kinds.index("published") < kinds.index("gate_reached")
    assert "+hello, world" in world.autoroute("diff").stdout


def test_editing_a_review_does_not_change_its_verdict(world: World) -> None:
    world.provide("anthropic", scripts.rules())
    assert world.autoroute(*RUN, "--gate", "qa").code == 13
    path = world.run_folder() / "review.json"
    good = path.read_text()
    path.write_text(good.replace('"approved"', '"rejected"').replace("true", "false"))
    refused = world.autoroute("resume", "--approve")
    assert refused.code == 78
    assert "reject it with words" in refused.stdout
    path.write_text(good)
    assert world.autoroute("resume", "--approve").code == 0
    assert receipt(world)["verdict"] == "approved"


def test_a_run_that_a_window_stopped_reports_when_to_resume(world: World) -> None:
    claim = "anthropic-ratelimit-unified"
    headers = {
        f"{claim}-status": "rejected",
        f"{claim}-representative-claim": "five_hour",
        f"{claim}-reset": str(int(time.time()) + 9_000),
    }
    world.provide("anthropic", scripts.rules(), faults=[replace(limited("submit_plan"), headers=headers)])
    result = world.autoroute(*RUN)
    assert result.code == 75
    assert " UTC (" in result.stdout.splitlines()[0]
    assert "or now with --plan ROUTE or a longer --max-wait" in result.stderr
