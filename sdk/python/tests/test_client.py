"""The client and the scratchpad against the real gateway."""

from __future__ import annotations

import threading
import uuid

import httpx
import pytest

import portcullis
from portcullis import AsyncClient, Client, Expect


def name() -> str:
    return f"s-{uuid.uuid4()}"


def test_values_are_read_as_they_were_written(client):
    state = client.session(name()).state
    assert state.read("step") is None and state.get("step", 7) == 7 and list(state) == []
    for value in [None, 0, -1.5, 'ä€😀\n"', [], {"a": [1, {"b": None}]}, True, "x" * 100_000]:
        state["step"] = value
        assert state["step"] == value
    assert "step" in state and "other" not in state
    del state["step"]
    with pytest.raises(KeyError):
        state["step"]
    with pytest.raises(KeyError):
        del state["step"]
    with pytest.raises(ValueError):
        state["step"] = float("nan")
    for key in ["", "a/b", "../x", "a b", "-x", "x" * 129]:
        with pytest.raises(ValueError):
            state[key] = 1
    state["a+b@c._-"] = 1
    assert [(listed.key, listed.bytes) for listed in state.list("a+b@")] == [("a+b@c._-", 1)]


def test_a_value_is_written_only_over_what_is_expected(client):
    state = client.session(name()).state
    assert state.put("step", 1, expect=Expect.ABSENT) == 1
    with pytest.raises(portcullis.Conflict) as conflict:
        state.put("step", 2, expect=Expect.ABSENT)
    assert (conflict.value.code, conflict.value.status) == ("conflict", 412)
    assert state.put("step", 2, expect=1) == 2
    assert state.put("step", 2, expect=Expect.PRESENT) == 3
    with pytest.raises(portcullis.Conflict):
        state.delete("step", expect=2)
    state.delete("step", expect=3)
    with pytest.raises(portcullis.Conflict):
        state.put("step", 1, expect=3)
    assert state.put("step", 1) == 4
    with pytest.raises(portcullis.NotFound):
        state.delete("other")


def test_no_change_is_lost_among_many_writers(client):
    state = client.session(name()).state

    def add():
        for _ in range(5):
            state.change("sum", lambda value: (value or 0) + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state["sum"] == 20


def test_keys_are_listed_by_prefix_over_all_pages(client):
    state = client.session(name()).state
    for number in range(1_010):
        state.put(f"k.{number:04}", number)
    state["other"] = 1
    assert [listed.key for listed in state.list("k.")] == [f"k.{number:04}" for number in range(1_010)]
    assert len(list(state.list())) == 1_011


def test_limits_are_refused_with_their_code(client):
    state = client.session(name()).state
    with pytest.raises(portcullis.TooLarge, match="1048576 bytes") as refused:
        state["step"] = "x" * 1024 * 1024
    assert refused.value.problem["status"] == 413
    with pytest.raises(portcullis.Refused) as refused:
        state.put("step", 1, ttl_s=0)
    assert refused.value.code == "invalid_request"
    state.put("step", 1, ttl_s=60)
    assert next(state.list()).expires_at


def test_whom_a_key_belongs_to_is_asked_by_the_gateway(client, gateway):
    with Client(gateway.url, "pcs_0_0") as stranger, pytest.raises(portcullis.Unauthenticated):
        stranger.session("s").state["step"] = 1
    mine = client.open_session(name())
    mine.state["step"] = 1
    with Client(gateway.url, gateway.key("manager")) as other:
        with pytest.raises(portcullis.NotFound):
            other.session(mine.name).info()
        assert other.session(mine.name).state.get("step") is None
        assert mine.name not in [session["name"] for session in other.sessions()]
    assert mine.name in [session["name"] for session in client.sessions()]
    minted = client.open_session()
    assert minted.name.startswith("ses_") and minted.info()["status"] == "active"
    minted.close()
    with pytest.raises(portcullis.SessionClosed):
        minted.state["step"] = 1
    assert [entry["event"]["type"] for entry in minted.entries()] == ["session.opened", "session.closed"]


def test_a_tool_is_called_once_for_each_idempotency_key(client):
    session = client.session(name())
    arguments = {"claim_id": "C-1", "amount": 120.5}
    first = session.call_tool("approve_payment", arguments, toolset="claims", idempotency_key="call-1")
    again = session.call_tool("claims__approve_payment", arguments, idempotency_key="call-1")
    assert not first.is_error and not first.is_replayed, first
    assert again.is_replayed and again.text == first.text
    denied = session.call_tool("claims__approve_payment", {"claim_id": "C-1", "amount": 50_000.0})
    assert denied.is_error and denied.text == "Limit Exceeded. Escalate to Manager."


async def test_the_same_can_be_waited_for(gateway, key):
    async with AsyncClient(gateway.url, key) as client:
        session = await client.open_session(name())
        state = session.state
        assert await state.put("step", {"a": 1}, expect=Expect.ABSENT) == 1
        with pytest.raises(portcullis.Conflict):
            await state.put("step", 2, expect=Expect.ABSENT)
        found = await state.read("step")
        assert (found.value, found.version) == ({"a": 1}, 1)
        assert await state.change("sum", lambda value: (value or 0) + 1) == 1
        assert [listed.key async for listed in state.list()] == ["step", "sum"]
        await state.delete("step", expect=1)
        assert await state.get("step", "gone") == "gone"
        denied = await session.call_tool("claims__approve_payment", {"claim_id": "C-1", "amount": 50_000.0})
        assert denied.is_error
        assert session.name in [one["name"] async for one in client.sessions()]
        assert [entry["seq"] async for entry in session.entries()][:2] == [1, 2]
        assert (await session.history(), (await session.info())["status"]) == ([], "active")
        await session.close()


class Broken(httpx.BaseTransport):
    """A way to the gateway that breaks: before the request is sent, or after it had its effect."""

    def __init__(self, errors: list[type[httpx.TransportError]]) -> None:
        self.errors = errors
        self.inner = httpx.HTTPTransport()
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        error = self.errors.pop(0) if self.errors else None
        if error is httpx.ConnectError:
            raise error("no way there")
        response = self.inner.handle_request(request)
        if error is not None:
            response.read()
            raise error("the answer was lost")
        return response


LOST, NEVER = httpx.ReadError, httpx.ConnectError


@pytest.mark.parametrize(
    ("errors", "call", "expected", "sent"),
    [
        ([LOST], lambda session: session.state.get("step"), None, 2),
        ([LOST, LOST], lambda session: session.state.get("step"), None, 3),
        ([LOST, LOST, LOST], lambda session: session.state.get("step"), portcullis.OutcomeUnknown, 3),
        ([NEVER, NEVER], lambda session: session.state.put("step", 1), 1, 3),
        ([NEVER, NEVER, NEVER], lambda session: session.state.put("step", 1), portcullis.Unreachable, 3),
        ([LOST], lambda session: session.state.put("step", 1), portcullis.OutcomeUnknown, 1),
        ([LOST], lambda session: session.state.put("step", 1, repeatable=True), 2, 2),
        ([LOST], lambda session: session.close(), portcullis.OutcomeUnknown, 1),
    ],
)
def test_a_request_is_sent_again_only_where_that_is_safe(gateway, key, errors, call, expected, sent):
    transport = Broken(list(errors))
    with Client(gateway.url, key) as good, Client(gateway.url, key, transport=transport) as client:
        session = client.session(name())
        if expected is None or sent == 1:
            good.open_session(session.name)
        if isinstance(expected, type):
            with pytest.raises(expected):
                call(session)
        else:
            assert call(session) == expected
    assert transport.sent == sent


@pytest.mark.parametrize(("repeatable", "expected", "sent"), [(False, portcullis.OutcomeUnknown, 1), (True, 2, 2)])
async def test_so_it_is_with_an_event_loop(gateway, key, repeatable, expected, sent):
    class Lossy(httpx.AsyncHTTPTransport):
        count = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.count += 1
            response = await super().handle_async_request(request)
            if self.count == 1:
                await response.aread()
                raise LOST("the answer was lost")
            return response

    transport = Lossy()
    async with AsyncClient(gateway.url, key, transport=transport) as client:
        written = client.session(name()).state.put("step", 1, repeatable=repeatable)
        if isinstance(expected, int):
            assert await written == expected
        else:
            with pytest.raises(expected):
                await written
    assert transport.count == sent


def test_a_tool_runs_once_though_its_answer_was_lost(gateway, key):
    paid = gateway.folder / "payments.jsonl"
    before = paid.read_text() if paid.exists() else ""
    with Client(gateway.url, key, transport=Broken([LOST, LOST])) as client:
        arguments = {"claim_id": f"C-{uuid.uuid4()}", "amount": 1.0}
        result = client.session(name()).call_tool("claims__approve_payment", arguments)
    assert result.is_replayed and not result.is_error
    assert paid.read_text().removeprefix(before).count("\n") == 1


def test_what_is_missing_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("PORTCULLIS_KEY", raising=False)
    with pytest.raises(ValueError, match="PORTCULLIS_KEY"):
        Client()
    monkeypatch.setenv("PORTCULLIS_KEY", "pcs_1_x")
    monkeypatch.setenv("PORTCULLIS_URL", "http://127.0.0.1:9/")
    with Client(retries=0) as client:
        session = client.session("claim-99")
        assert session.openai_base_url == "http://127.0.0.1:9/s/claim-99/v1"
        assert (session.mcp_url, session.toolset_url("claims")) == (
            "http://127.0.0.1:9/s/claim-99/mcp",
            "http://127.0.0.1:9/s/claim-99/mcp/claims",
        )
        assert session.headers == {"Authorization": "Bearer pcs_1_x", "Portcullis-Session": "claim-99"}
        with pytest.raises(ValueError):
            client.session("a/b")
        with pytest.raises(portcullis.Unreachable):
            session.info()
