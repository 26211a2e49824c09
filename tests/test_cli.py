"""The command line against a real admin server with a pretended control plane."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from bgproxy import __version__
from bgproxy.cli import main
from bgproxy.commands import drill as drill_command
from bgproxy.config.settings import Role
from bgproxy.domain.model import Color
from bgproxy.errors import Refused
from tests.admin_double import AT, LATER, TOKENS, Admin, admin_in_thread, deployment, tokens

CLIENT_COMMANDS = (
    "status",
    "switch",
    "rollback",
    "verify",
    "drill",
    "pause",
    "resume",
    "history",
    "diff",
    "watch",
    "healthcheck",
)


DRAIN = {"environment": "blue", "requests": 3, "tunnels": 1, "seconds": 0.5}
BAKE = {
    "environment": "green",
    "seconds": 30.0,
    "of_seconds": 600.0,
    "requests": 1500,
    "failures": 2,
    "evidence": 0.4,
    "evidence_needed": 20,
}


@pytest.fixture
def admin() -> Iterator[Admin]:
    with admin_in_thread() as running:
        yield running


def run(*arguments: str, env: Mapping[str, str | None] | None = None) -> Result:
    clean = {"BGPROXY_ADMIN": None, "BGPROXY_TOKEN": None, "NO_COLOR": None}
    return CliRunner().invoke(main, arguments, env={**clean, **(env or {})})


def test_status_says_who_is_live(admin: Admin) -> None:
    """In words, so that it reads without colors."""
    result = run("status", "--admin", admin.url)
    assert result.exit_code == 0
    assert "default  ● blue is live  generation 1  steady" in result.stdout
    assert "http://127.0.0.1:9002  healthy" in result.stdout
    assert "5 errors (0.50%)" in result.stdout
    assert "\x1b" not in result.stdout


def test_status_as_json_is_the_document(admin: Admin) -> None:
    """One service, or all of them."""
    result = run("status", "default", "--json", "--admin", admin.url)
    assert json.loads(result.stdout) == admin.operations.service("default")
    result = run("status", "--json", "--admin", admin.url)
    assert json.loads(result.stdout) == {"services": [admin.operations.service("default")]}


@pytest.mark.parametrize("before", [True, False])
def test_shared_options_stand_before_or_after_the_command(admin: Admin, before: bool) -> None:
    """Both are natural."""
    shared = ("--admin", admin.url, "--json")
    result = run(*shared, "status") if before else run("status", *shared)
    assert json.loads(result.stdout)["services"]


def test_the_environment_names_the_admin_api(admin: Admin) -> None:
    """A flag beats the variable, wherever it stands."""
    assert run("status", env={"BGPROXY_ADMIN": admin.url}).exit_code == 0
    nowhere = {"BGPROXY_ADMIN": "http://127.0.0.1:1"}
    assert run("status", env=nowhere).exit_code == 3
    assert run("--admin", admin.url, "status", env=nowhere).exit_code == 0
    assert run("status", "--admin", admin.url, env=nowhere).exit_code == 0


def test_the_token_comes_from_flag_or_environment() -> None:
    """And a missing one is a refusal."""
    with admin_in_thread(tokens=tokens()) as admin:
        assert run("status", "--admin", admin.url).exit_code == 1
        token = TOKENS[Role.READ]
        assert run("status", "--admin", admin.url, "--token", token).exit_code == 0
        environment = {"BGPROXY_TOKEN": token}
        assert run("status", "--admin", admin.url, env=environment).exit_code == 0


def test_switch_waits_until_the_old_side_is_drained(admin: Admin) -> None:
    """It passes on what it was told, shows where it stands, and ends with a verdict."""
    admin.operations.looks = [deployment(), deployment(drained_at=LATER)]
    admin.operations.drain = DRAIN
    result = run("switch", "green", "--release", "v2", "--reason", "why", "--admin", admin.url)
    assert result.exit_code == 0, result.output
    assert "default: ▲ green (v2) is live, generation 2; blue drained in 1.5 s" in result.stdout
    assert "draining blue: 3 requests and 1 tunnel in flight" in result.stderr
    ((_, asked),) = admin.operations.calls
    assert (asked["to"], asked["release"], asked["reason"]) == (Color.GREEN, "v2", "why")


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        ("passed", 0, "the bake passed; blue may be stopped"),
        ("inconclusive", 0, "the bake saw too little to judge"),
        ("rolled_back", 1, "rolled back"),
        ("superseded", 1, "was superseded"),
        ("failed", 1, "failed"),
    ],
)
def test_switch_for_ci_waits_for_the_verdict(
    admin: Admin, outcome: str, status: int, words: str
) -> None:
    """`--wait finished` ends with 1 if the release was taken back."""
    finished = {"drained_at": LATER, "finished_at": LATER, "outcome": outcome}
    admin.operations.looks = [deployment(drained_at=LATER), deployment(**finished)]
    admin.operations.bake = BAKE
    result = run("switch", "--wait", "finished", "--admin", admin.url)
    assert result.exit_code == status, result.output
    assert words in result.stdout
    assert "baking green: 9 min 30 s left, 2 of 1,500 requests failed" in result.stderr


def test_a_release_taken_back_while_it_drains_fails(admin: Admin) -> None:
    """Whatever was waited for, a release that is gone again is not a success."""
    admin.operations.looks = [deployment(outcome="rolled_back", drained_at=LATER)]
    assert run("switch", "--admin", admin.url).exit_code == 1


def test_switch_as_json_prints_the_deployment(admin: Admin) -> None:
    """Progress stays on standard error."""
    admin.operations.looks = [deployment(drained_at=LATER)]
    result = run("switch", "--json", "--admin", admin.url)
    assert json.loads(result.stdout) == deployment(drained_at=LATER)


def test_a_refused_switch_says_why_and_ends_with_1(admin: Admin) -> None:
    """Every backend that was not healthy is named."""
    facts = {"backends": [{"url": "http://127.0.0.1:9002", "answered": "503", "at": AT}]}
    admin.operations.refusal = Refused(409, "target-not-healthy", "green is not healthy.", facts)
    result = run("switch", "--admin", admin.url)
    assert result.exit_code == 1
    assert "refused: green is not healthy. (target-not-healthy)" in result.stderr
    assert "url=http://127.0.0.1:9002  answered=503" in result.stderr
    as_json = run("switch", "--json", "--admin", admin.url)
    assert json.loads(as_json.stdout)["backends"] == facts["backends"]
    assert as_json.exit_code == 1


def test_rollback_does_not_wait(admin: Admin) -> None:
    """Who takes a release back wants the answer now."""
    result = run("rollback", "--reason", "errors", "--admin", admin.url)
    assert result.exit_code == 0
    assert "default: ● blue (v2) is live, generation 2 again; green drains" in result.stdout
    assert admin.operations.calls[0][1]["reason"] == "errors"


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_verify_ends_as_the_checks_did(admin: Admin, passed: bool, status: int) -> None:
    """With a line for each check."""
    admin.operations.passed = passed
    result = run("verify", "green", "--admin", admin.url)
    assert result.exit_code == status
    assert ("passed  home" if passed else "FAILED  home  problem=was 500") in result.stdout


def test_pause_resume_and_backends(admin: Admin) -> None:
    """What they are told reaches the control plane."""
    shared = ("--admin", admin.url)
    assert run("pause", "--timeout", "5s", *shared).exit_code == 0
    assert run("resume", *shared).exit_code == 0
    url = "http://127.0.0.1:9003"
    command = ("backends", "set", "green", url, "--release", "v3", "--force")
    assert run(*command, *shared).exit_code == 0
    calls = dict(admin.operations.calls)
    assert calls["pause"]["timeout"] == 5.0
    assert calls["backends"]["backends"] == [url]
    assert (calls["backends"]["release"], calls["backends"]["force"]) == ("v3", True)


def test_history_is_a_table(admin: Admin) -> None:
    """When, what, who and how it ended."""
    lines = run("history", "--admin", admin.url).stdout.splitlines()
    assert lines[0].split() == "id when what from -> to release gen outcome who why".split()
    assert "blue -> green" in lines[1]
    assert "under way" in lines[1]


def test_diff_says_when_there_is_none(admin: Admin) -> None:
    """Silence would leave one wondering."""
    assert run("diff", "--admin", admin.url).stdout == "file and state agree\n"


def test_the_service_must_be_clear(admin: Admin) -> None:
    """With several services the default one is meant, else one must be named: wrong usage."""
    admin.operations.names = ["shop", "blog"]
    result = run("history", "--admin", admin.url)
    assert result.exit_code == 2
    assert "one of: shop, blog" in result.stderr
    assert run("history", "--service", "shop", "--admin", admin.url).exit_code == 0
    admin.operations.names = ["shop", "default"]
    assert run("history", "--admin", admin.url).exit_code == 0
    assert run("status", "nothing", "--admin", admin.url).exit_code == 1


def test_a_drill_goes_there_and_back(admin: Admin) -> None:
    """Each once, for that reason, and only as long as nobody else moves the pointer."""
    result = run("drill", "--stay", "0s", "--admin", admin.url)
    assert result.exit_code == 0, result.output
    (_, there), (_, back) = admin.operations.calls
    assert (there["to"], there["reason"], there["expected_generation"]) == (Color.GREEN, "drill", 1)
    assert (back["reason"], back["expected_generation"]) == ("drill", 2)
    assert "▲ green was live, ● blue is again" in result.stdout
    assert "meanwhile 0 requests, 0 errors" in result.stdout
    admin.operations.active = "blue"
    document = json.loads(run("drill", "--stay", "0s", "--json", "--admin", admin.url).stdout)
    assert (document["there"]["to"], document["back"]["to"]) == ("green", "blue")


def test_a_drill_needs_a_steady_service(admin: Admin) -> None:
    """It must not end somebody's bake; and it says what it takes."""
    admin.operations.phase = "baking"
    result = run("drill", "--admin", admin.url)
    assert result.exit_code == 1
    assert "a drill needs it steady" in result.stderr
    assert admin.operations.calls == []
    assert run("drill", "--stay", "5", "--admin", admin.url).exit_code == 2


def test_a_drill_that_is_interrupted_goes_back(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody meant the other side to stay live."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(drill_command, "time", SimpleNamespace(sleep=interrupt, monotonic=float))
    result = run("drill", "--admin", admin.url)
    assert "going back now" in result.stderr
    assert [what for what, _ in admin.operations.calls] == ["switch", "rollback"]


def test_irreversible_and_its_force_are_passed_on(admin: Admin) -> None:
    """What was said to be final at the switch is taken back by force only."""
    run("switch", "--irreversible", "dropped x", "--wait", "applied", "--admin", admin.url)
    run("rollback", "--force", "--admin", admin.url)
    (_, switched), (_, taken_back) = admin.operations.calls
    assert switched["irreversible"] == "dropped x"
    assert taken_back["force"] is True


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_a_plan_switches_nothing_and_ends_as_the_switch_would(
    admin: Admin, passed: bool, status: int
) -> None:
    """It tells the checks, the drain, and what would be noticed."""
    admin.operations.passed = passed
    result = run("switch", "green", "--plan", "--admin", admin.url)
    assert result.exit_code == status
    assert [what for what, _ in admin.operations.calls] == ["plan"]
    assert ("would switch" if passed else "It was taken back.") in result.stdout
    for said in (
        "home",
        "3 requests and 1 tunnel in flight on blue: drained after 30 s at most, tunnels 1 min 0 s",
        "at 2 requests/s, 0.10% failing usually, it would be taken back with",
        "100% failing in about 8 s",
        "3% failing not at all",
    ):
        assert said in result.stdout
    as_json = run("switch", "--plan", "--json", "--admin", admin.url)
    assert json.loads(as_json.stdout)["would_switch"] is passed


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
def test_an_admin_api_that_is_not_there_is_3(command: str) -> None:
    """And the message says where it was looked for."""
    result = run(command, "--admin", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "cannot reach the admin API at http://127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("switch", "red"),
        ("switch", "--wait", "long"),
        ("backends", "set", "green"),
        ("status", "--admin", "localhost:8081"),
        ("run",),
    ],
)
def test_wrong_usage_is_2(arguments: tuple[str, ...]) -> None:
    """Nothing is asked of anybody."""
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "command",
    [*CLIENT_COMMANDS, "run", "check", "demo", "completion", "version", "backends"],
)
def test_every_command_has_help(command: str) -> None:
    """And help needs no proxy."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    """For each shell that is known."""
    assert "_BGPROXY_COMPLETE" in run("completion", shell).stdout


def test_the_version_is_told() -> None:
    """As a flag and as a command."""
    assert __version__ in run("--version").stdout
    assert __version__ in run("version").stdout


def test_healthcheck_asks_the_proxy(admin: Admin) -> None:
    """Alive and ready are two questions."""
    assert run("healthcheck", "--admin", admin.url).exit_code == 0
    admin.operations.ready = (False, "no table yet")
    assert run("healthcheck", "--admin", admin.url).exit_code == 0
    result = run("healthcheck", "--ready", "--admin", admin.url)
    assert (result.exit_code, "no table yet" in result.stderr) == (1, True)


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "bgproxy", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _end(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    output, errors = process.communicate(timeout=20)
    return output, errors, process.returncode


def test_ctrl_c_says_in_which_state_a_switch_is_left(admin: Admin) -> None:
    """1. A switch drains. 2. Ctrl-C. 3. The command says that it goes on, and ends with 1."""
    admin.operations.drain = DRAIN
    with _started("switch", "--admin", admin.url) as process:
        assert process.stderr is not None
        assert "green is live, generation 2" in process.stderr.readline()
        assert "draining blue" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors, status = _end(process)
    assert status == 1
    assert "default is steady: green is live, generation 2." in errors
    assert "goes on in the proxy" in errors


def test_watch_in_a_pipe_prints_a_line_for_each_event(admin: Admin) -> None:
    """As text, or as one JSON document a line, until Ctrl-C."""
    with _started("watch", "--json", "--admin", admin.url) as process:
        assert process.stdout is not None
        while not admin.server.subscribers:
            time.sleep(0.01)
        admin.publish("switch", "default", to="green")
        event = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, _, status = _end(process)
    assert (event["type"], event["service"], event["to"]) == ("switch", "default", "green")
    assert status == 0


def test_nothing_heavy_is_imported_by_client_commands() -> None:
    """A status that takes half a second to start is not used."""
    code = (
        "import sys; import bgproxy.cli; "
        "slow = {'aiohttp', 'rich', 'pydantic', 'structlog', 'uvloop', 'yaml'}; "
        "heavy = slow & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
