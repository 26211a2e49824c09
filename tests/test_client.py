"""The client against a real admin server with a pretended control plane."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import BaseModel

from bgproxy.client import AdminClient, ProblemError, UnreachableError, documents
from bgproxy.config.settings import Address, Role
from bgproxy.controlplane import schemas
from bgproxy.domain.model import Color
from tests.admin_double import TOKENS, Admin, admin_in_thread, tokens


@pytest.fixture
def admin() -> Iterator[Admin]:
    with admin_in_thread() as running:
        yield running


def test_reads(admin: Admin) -> None:
    """Each read hands back the document."""
    client = AdminClient(admin.url)
    (listed,) = client.services()
    assert listed == client.service("default")
    assert client.history("default", limit=1)[0]["id"] == 1
    assert client.deployment("default", 1)["to"] == "green"
    assert client.audit("default")[0]["action"] == "pause"
    assert client.diff("default") == {"environments": {}}
    assert client.is_alive()
    assert client.is_ready()


def test_changes(admin: Admin) -> None:
    """Each change passes on everything it was given."""
    client = AdminClient(admin.url)
    client.switch("default", to="green", verify=False, wait="drained", expected_generation=1)
    client.rollback("default", reason="errors")
    client.verify("default", "green")
    assert client.plan("default")["would_switch"]
    client.set_backends("default", "blue", ["http://127.0.0.1:9003"], release="v3", force=True)
    client.pause("default", "2s")
    client.resume("default")
    calls = dict(admin.operations.calls)
    assert calls["switch"]["to"] is Color.GREEN
    assert (calls["switch"]["verify"], calls["switch"]["wait"]) == (False, "drained")
    assert calls["switch"]["expected_generation"] == 1
    assert calls["rollback"]["reason"] == "errors"
    assert calls["verify"]["color"] is Color.GREEN
    assert calls["backends"]["backends"] == ["http://127.0.0.1:9003"]
    assert (calls["backends"]["release"], calls["backends"]["force"]) == ("v3", True)
    assert calls["pause"]["timeout"] == 2.0


def test_a_key_makes_a_switch_happen_once(admin: Admin) -> None:
    """The idempotency key reaches the server."""
    client = AdminClient(admin.url)
    for _ in range(2):
        client.switch("default", idempotency_key="k")
    assert len(admin.operations.calls) == 1


def test_a_refusal_carries_the_problem(admin: Admin) -> None:
    """Status, kind and facts are there for the caller."""
    with pytest.raises(ProblemError, match="generation is 1, not 7") as caught:
        AdminClient(admin.url).switch("default", expected_generation=7)
    assert (caught.value.status, caught.value.kind) == (409, "generation-mismatch")
    assert caught.value.document["generation"] == 1


def test_names_are_quoted(admin: Admin) -> None:
    """A service's name is one segment of the path, whatever it is."""
    with pytest.raises(ProblemError) as caught:
        AdminClient(admin.url).service("a/b?c")
    assert caught.value.kind == "unknown-service"


def test_events_are_followed_and_resumed(admin: Admin) -> None:
    """The stream gives each event, and what was missed before."""
    first = admin.publish("switch", "default", to="green")
    admin.publish("drained", "default")
    events = AdminClient(admin.url).events(after=first.id)
    (found,) = itertools.islice(events, 1)
    events.close()  # type: ignore[attr-defined]
    assert (found.id, found.type, found.data["service"]) == (first.id + 1, "drained", "default")


def test_a_stream_that_ends_says_so() -> None:
    """The caller learns that nothing more will come, and may go on after the last id."""
    with admin_in_thread() as admin:
        events = AdminClient(admin.url).events(after=0)
        admin.publish("switch", "default")
        next(events)
    with pytest.raises(UnreachableError):
        next(events)


def test_tokens_are_sent() -> None:
    """And what happens without one is a problem like any other."""
    with admin_in_thread(tokens=tokens()) as admin:
        assert AdminClient(admin.url, token=TOKENS[Role.READ]).services()
        with pytest.raises(ProblemError) as caught:
            AdminClient(admin.url).services()
        assert caught.value.status == 401
        with pytest.raises(ProblemError) as caught:
            next(AdminClient(admin.url).events())
        assert caught.value.status == 401


def test_a_unix_socket_is_reached(tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "admin.sock"
    with admin_in_thread(listen=(Address("", 0, str(path)),)):
        assert AdminClient(f"unix:{path}").services()


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    """Refused, missing, or something else that answers: one error, which names the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for admin in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none.sock"):
        with pytest.raises(UnreachableError, match="cannot reach the admin API"):
            AdminClient(admin).services()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"nonsense"])
def test_something_else_that_answers_is_unreachable(answer: bytes) -> None:
    """A server that is not a bgproxy is not mistaken for one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError):
            AdminClient(f"http://127.0.0.1:{listener.getsockname()[1]}").services()
        thread.join()


@pytest.mark.parametrize("admin", ["localhost:8081", "ftp://x", "http://", "http://x/path", ""])
def test_an_address_of_another_form_is_refused(admin: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="write http://host:port"):
        AdminClient(admin)


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        (documents.ServiceDocument, schemas.ServiceDocument),
        (documents.EnvironmentDocument, schemas.EnvironmentDocument),
        (documents.BackendDocument, schemas.BackendDocument),
        (documents.DrainDocument, schemas.DrainDocument),
        (documents.BakeDocument, schemas.BakeDocument),
        (documents.DeploymentDocument, schemas.DeploymentDocument),
        (documents.VerificationDocument, schemas.VerificationDocument),
    ],
)
def test_the_clients_types_are_the_servers(typed: type, model: type[BaseModel]) -> None:
    """Both describe the same documents."""
    described = {field.alias or name for name, field in model.model_fields.items()}
    assert set(get_type_hints(typed)) == described
