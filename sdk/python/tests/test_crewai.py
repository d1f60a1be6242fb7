"""CrewAI's flows: persisted by one process, continued by another."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from datetime import date
from pathlib import Path

import pytest
from conftest import until
from crewai.flow.async_feedback.types import HumanFeedbackPending, PendingFeedbackContext
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import HumanFeedbackResult, human_feedback
from pydantic import BaseModel

import portcullis
from portcullis.crewai import PortcullisPersistence


class Claim(BaseModel):
    id: str = "x"
    opened: date = date(2026, 1, 2)
    tags: set[str] = {"a"}


def test_a_killed_flow_is_continued_by_another_process(client, environment, tmp_path):
    program, identity, ran = Path(__file__).parent / "programs" / "flow.py", str(uuid.uuid4()), tmp_path / "ran"
    arguments = [sys.executable, str(program), identity, str(ran)]

    def lines() -> list[str]:
        return ran.read_text().split() if ran.exists() else []

    first = subprocess.Popen([*arguments, "hold"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the second step is under way", lambda: lines() == ["first", "second"], first)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    saved = client.session(identity).state["crewai.state"]
    assert saved == {"method": "first", "state": {"id": identity, "done": ["first"]}}
    second = subprocess.run([*arguments, "go_on"], env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert lines() == ["first", "second", "second", "third"]
    assert ran.with_suffix(".state").read_text() == "first second third"


@pytest.mark.parametrize("state", [Claim(), Claim().model_dump()])
def test_states_are_stored_as_json(client, state):
    keeper, identity = PortcullisPersistence(client), str(uuid.uuid4())
    assert keeper.load_state(identity) is None
    keeper.save_state(identity, "first", state)
    assert keeper.load_state(identity) == {"id": "x", "opened": "2026-01-02", "tags": ["a"]}
    keeper.save_state(identity, "second", {"n": 1})
    assert keeper.load_state(identity) == {"n": 1}


def test_a_question_waits_until_it_is_answered(client):
    keeper, identity = PortcullisPersistence(client), str(uuid.uuid4())
    context = PendingFeedbackContext(flow_id=identity, flow_class="a.B", method_name="ask", method_output={"n": 1}, message="ok?")
    assert keeper.load_pending_feedback(identity) is None
    keeper.save_pending_feedback(identity, context, Claim())
    state, found = keeper.load_pending_feedback(identity)
    assert (state["tags"], found.to_dict()) == (["a"], context.to_dict())
    assert keeper.load_state(identity) == state
    keeper.clear_pending_feedback(identity)
    keeper.clear_pending_feedback(identity)
    assert keeper.load_pending_feedback(identity) is None


class Asks:
    """A provider that asks somewhere else and doesn't wait."""

    def request_feedback(self, context: PendingFeedbackContext, flow: Flow) -> str:
        raise HumanFeedbackPending(context=context)


class Approval(Flow[Claim]):
    @start()
    @human_feedback(message="Pay it?", provider=Asks())
    def draft(self) -> str:
        self.state.tags.add("drafted")
        return "pay 9000"

    @listen(draft)
    def pay(self, answer: HumanFeedbackResult) -> str:
        return f"{answer.output}: {answer.feedback} {sorted(self.state.tags)}"


def test_a_real_flow_waits_for_a_human_and_is_resumed_by_another_flow(client):
    keeper, identity = PortcullisPersistence(client), str(uuid.uuid4())
    waiting = Approval(persistence=keeper, suppress_flow_events=True).kickoff(inputs={"id": identity})
    assert isinstance(waiting, HumanFeedbackPending)
    assert keeper.load_pending_feedback(identity)[1].message == "Pay it?"
    resumed = Approval.from_pending(identity, PortcullisPersistence(client))
    assert resumed.resume("yes") == "pay 9000: yes ['a', 'drafted']"
    assert keeper.load_pending_feedback(identity) is None


def test_the_key_is_in_nothing_that_is_written_down(client):
    keeper = PortcullisPersistence(client)
    assert client.key not in repr(keeper) + keeper.model_dump_json()
    with pytest.raises(ValueError):
        keeper.save_state("a/b", "first", {})
    assert issubclass(portcullis.Conflict, portcullis.Error)
