"""AutoGen's agents and teams: saved by one process, loaded by another."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_ext.models.replay import ReplayChatCompletionClient

import portcullis
from portcullis import AsyncClient
from portcullis.autogen import StateKeeper, load


def play(name: str, mode: str, environment: dict[str, str]) -> list[str]:
    program = Path(__file__).parent / "programs" / "team.py"
    ended = subprocess.run([sys.executable, str(program), name, mode], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_what_one_process_saved_another_continues(client, environment):
    session = client.session(f"a-{uuid.uuid4()}")
    assert play(session.name, "begin", environment) == ["1 1"]
    assert [listed.key for listed in session.state.list()] == ["autogen.alone", "autogen.team"]
    loaded, answer, context, thread = play(session.name, "go_on", environment)
    assert loaded == "True True False"
    assert answer == "two"
    assert context == "SAY one|one|SAY two|two"
    assert thread.startswith("SAY hello|hello")
    said = [message["content"] for message in session.history() if message["role"] == "user"]
    assert {"SAY one", "SAY hello", "SAY two"} <= set(said), "all of it is in the session"


async def test_of_two_that_loaded_the_same_state_one_saves_it(gateway, key):
    def agent() -> AssistantAgent:
        return AssistantAgent("clerk", ReplayChatCompletionClient(["ok"] * 9))

    async with AsyncClient(gateway.url, key) as client:
        session = client.session(f"a-{uuid.uuid4()}")
        assert not await load(session, agent())
        one, other = StateKeeper(session, agent()), StateKeeper(session, agent())
        assert not await one.load() and await one.save() == 1 and await other.load()
        assert (await one.save(), await one.save()) == (2, 3)
        with pytest.raises(portcullis.Conflict):
            await other.save()
        assert await other.load() and await other.save() == 4


async def test_messages_are_the_same_after_a_load(gateway, key):
    async with AsyncClient(gateway.url, key) as client:
        session = client.session(f"a-{uuid.uuid4()}")
        before = AssistantAgent("clerk", ReplayChatCompletionClient(["noted: ä€😀"]))
        await before.on_messages([TextMessage(content="remember \u0001", source="user")], CancellationToken())
        await StateKeeper(session, before).save()
        after = AssistantAgent("clerk", ReplayChatCompletionClient([]))
        await StateKeeper(session, after).load()
        assert await after.save_state() == await before.save_state()
