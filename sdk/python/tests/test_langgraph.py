"""LangGraph's checkpoints in the real gateway."""

from __future__ import annotations

import operator
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Annotated, TypedDict

import pytest
from conftest import until
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

import portcullis
from portcullis import Client
from portcullis import langgraph as module
from portcullis.langgraph import PortcullisSaver


def thread(**more) -> dict:
    return {"configurable": {"thread_id": f"t-{uuid.uuid4()}", **more}}


def keys(client, config) -> list[str]:
    return [listed.key for listed in client.session(config["configurable"]["thread_id"]).state.list()]


async def test_the_conformance_suite_of_langgraph_passes(gateway, key):
    client = Client(gateway.url, key)

    @checkpointer_test(name="PortcullisSaver")
    async def factory():
        yield PortcullisSaver(client)

    report = await validate(factory)
    for capability, result in report.results.items():
        assert result.detected, f"{capability} is missing"
        assert result.passed and result.tests_passed, f"{capability}: {result.failures}"
    client.close()


class State(TypedDict):
    done: Annotated[list[str], operator.add]


def chain(saver, *names, interrupt_in: str | None = None):
    builder = StateGraph(State)

    def node(name):
        def run(state):
            answer = interrupt(f"may {name} go on?") if name == interrupt_in else None
            return {"done": [name if answer is None else f"{name}:{answer}"]}

        return run

    for before, name in zip([START, *names], names, strict=False):
        builder.add_node(name, node(name))
        builder.add_edge(before, name)
    builder.add_edge(names[-1], END)
    return builder.compile(checkpointer=saver)


def test_a_thread_is_continued_where_it_stands(client):
    config = thread()
    assert chain(PortcullisSaver(client), "a", "b").invoke({"done": []}, config) == {"done": ["a", "b"]}
    again = chain(PortcullisSaver(client), "a", "b")
    assert again.get_state(config).values == {"done": ["a", "b"]}
    assert again.invoke({"done": ["-"]}, config) == {"done": ["a", "b", "-", "a", "b"]}


def test_a_graph_goes_the_same_way_as_with_the_saver_in_memory(client):
    def history(saver):
        graph, config = chain(saver, "a", "b", interrupt_in="b"), thread()
        graph.invoke({"done": []}, config)
        graph.invoke(Command(resume="yes"), config)
        return [
            (state.values, state.next, state.metadata, [task.name for task in state.tasks], state.interrupts != ())
            for state in graph.get_state_history(config)
        ]

    assert history(PortcullisSaver(client)) == history(InMemorySaver())


async def test_an_interrupt_is_resumed_by_another_saver(client):
    config = thread()
    graph = chain(PortcullisSaver(client), "a", "b", "c", interrupt_in="b")
    stopped = await graph.ainvoke({"done": []}, config)
    assert [one.value for one in stopped["__interrupt__"]] == ["may b go on?"]
    graph = chain(PortcullisSaver(client), "a", "b", "c", interrupt_in="b")
    assert await graph.ainvoke(Command(resume="yes"), config) == {"done": ["a", "b:yes", "c"]}


def test_time_travel_goes_to_any_checkpoint_that_is_kept(client):
    config = thread()
    graph = chain(PortcullisSaver(client), "a", "b", "c")
    graph.invoke({"done": []}, config)
    before_c = next(state for state in graph.get_state_history(config) if state.next == ("c",))
    forked = graph.update_state(before_c.config, {"done": ["changed"]})
    assert graph.invoke(None, forked) == {"done": ["a", "b", "changed", "c"]}
    assert graph.get_state(before_c.config).values == {"done": ["a", "b"]}
    parents = {state.config["configurable"]["checkpoint_id"]: state.parent_config for state in graph.get_state_history(config)}
    assert parents[forked["configurable"]["checkpoint_id"]]["configurable"] == before_c.config["configurable"]


def test_many_tasks_of_one_step_write_side_by_side(client):
    builder = StateGraph(State)
    builder.add_node("fan", lambda _: {"done": []})
    builder.add_node("one", lambda number: {"done": [f"{number}"]})
    builder.add_edge(START, "fan")
    builder.add_conditional_edges("fan", lambda _: [Send("one", number) for number in range(30)], ["one"])
    config = thread()
    graph = builder.compile(checkpointer=PortcullisSaver(client))
    assert graph.invoke({"done": []}, config)["done"] == [str(number) for number in range(30)]


def test_a_subgraph_has_checkpoints_of_its_own(client):
    inner = chain(None, "x", "y", interrupt_in="y")
    builder = StateGraph(State)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    builder.add_edge("inner", END)
    graph, config = builder.compile(checkpointer=PortcullisSaver(client)), thread()
    graph.invoke({"done": []}, config)
    below = graph.get_state(config, subgraphs=True).tasks[0].state
    assert below.values == {"done": ["x"]} and below.next == ("y",)
    assert graph.invoke(Command(resume="yes"), config) == {"done": ["x", "y:yes"]}
    saver = PortcullisSaver(client)
    assert len({found.config["configurable"]["checkpoint_ns"] for found in saver.list(config)}) == 2
    saver.delete_thread(config["configurable"]["thread_id"])
    assert keys(client, config) == []


def test_only_the_last_checkpoints_are_kept(client):
    config, saver = thread(), PortcullisSaver(client, keep=3)
    graph = chain(saver, "a", "b")
    for _ in range(10):
        graph.invoke({"done": ["-"]}, config)
    kept = list(graph.get_state_history(config))
    assert 3 <= len(kept) < 3 + module.PRUNE_EVERY
    newest = kept[0]
    saver.prune([config["configurable"]["thread_id"]])
    assert [state.values for state in graph.get_state_history(config)] == [newest.values]
    checkpoint = newest.config["configurable"]["checkpoint_id"]
    assert all(checkpoint in key for key in keys(client, config)), "writes of what was pruned are pruned"
    assert graph.invoke({"done": ["-"]}, config)["done"] == ["-", "a", "b"] * 11


def test_writes_that_were_left_without_a_checkpoint_go_when_they_are_old(client):
    config, saver = thread(checkpoint_ns=""), PortcullisSaver(client, keep=3)
    lost = {"configurable": {**config["configurable"], "checkpoint_id": empty_checkpoint()["id"]}}
    saver.put_writes(lost, [("done", ["x"])], "task")
    before = keys(client, config)
    graph = chain(saver, "a", "b")
    graph.invoke({"done": ["-"]}, config)
    late = {"configurable": {**config["configurable"], "checkpoint_id": empty_checkpoint()["id"]}}
    saver.put_writes(late, [("done", ["x"])], "task")
    saver.prune([config["configurable"]["thread_id"]])
    now = keys(client, config)
    assert before[0] not in now and any(late["configurable"]["checkpoint_id"] in key for key in now)


def test_a_full_session_makes_room_by_itself(client, monkeypatch):
    monkeypatch.setattr(module, "VALUES", 20)
    config, saver = thread(), PortcullisSaver(client)
    state = client.session(config["configurable"]["thread_id"]).state
    state["mine"] = "stays"
    graph = chain(saver, "a", "b")
    for _ in range(10):
        graph.invoke({"done": ["-"]}, config)
    assert len(keys(client, config)) <= 20 + 3 * module.PRUNE_EVERY
    assert (state["mine"], len(graph.get_state(config).values["done"])) == ("stays", 30)
    # As full as the gateway allows: the refusal makes the saver prune, not fail.
    for number in range(1_024 - len(keys(client, config))):
        state[f"other-{number}"] = number
    assert len(graph.invoke({"done": ["-"]}, config)["done"]) == 33
    assert state["mine"] == "stays" and state["other-0"] == 0


def test_what_is_too_large_is_refused_and_said_so(client):
    saver, config = PortcullisSaver(client), thread(checkpoint_ns="")
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"text": uuid.uuid4().hex * 20_000}
    saver.put(config, checkpoint, {}, {})  # what repeats is compressed
    noise = b"".join(uuid.uuid4().bytes for _ in range(60_000))
    checkpoint["channel_values"] = {"noise": noise}
    with pytest.raises(portcullis.TooLarge):
        saver.put(config, checkpoint, {}, {})


def test_checkpoints_that_lean_on_those_before_them_are_not_pruned(client):
    saver, config = PortcullisSaver(client, keep=1), thread(checkpoint_ns="")
    for step in range(12):
        metadata = {"step": step, "counters_since_delta_snapshot": {"messages": (step, step)}}
        config = saver.put(config, empty_checkpoint(), metadata, {})
    saver.prune([config["configurable"]["thread_id"]])
    found = [found.metadata["step"] for found in saver.list({"configurable": {"thread_id": config["configurable"]["thread_id"]}})]
    assert found == list(reversed(range(12)))
    assert saver.get_tuple(config).metadata["step"] == 11


def test_a_thread_id_that_is_no_session_name_is_refused_or_translated(client):
    config = {"configurable": {"thread_id": f"user:{uuid.uuid4()}"}}
    with pytest.raises(ValueError, match="no name of a session"):
        chain(PortcullisSaver(client), "a").invoke({"done": []}, config)
    saver = PortcullisSaver(client, session_name=lambda thread: thread.replace(":", "."))
    assert chain(saver, "a").invoke({"done": []}, config) == {"done": ["a"]}
    assert [found.config["configurable"]["thread_id"] for found in saver.list(config)] == [config["configurable"]["thread_id"]] * 3


def test_what_was_acknowledged_survives_a_kill_of_the_gateway(client, gateway):
    config, saver = thread(), PortcullisSaver(client)
    graph = chain(saver, "a", "b", interrupt_in="b")
    graph.invoke({"done": []}, config)
    gateway.kill()
    with pytest.raises(portcullis.Unreachable):
        graph.get_state(config)
    gateway.restart()
    assert graph.invoke(Command(resume="yes"), config) == {"done": ["a", "b:yes"]}


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_killed_process_is_continued_by_another_at_the_same_node(client, environment, tmp_path, durability):
    """SIGKILL in the middle of `second`: the next process runs `second` anew, and nothing that came before it."""
    config = thread()
    program = Path(__file__).parent / "programs" / "graph.py"
    ran = tmp_path / "ran"
    arguments = [sys.executable, str(program), config["configurable"]["thread_id"], str(ran), durability]

    def lines() -> list[str]:
        return ran.read_text().split() if ran.exists() else []

    first = subprocess.Popen([*arguments, "hold"], env=environment)
    until("the second node is under way", lambda: lines() == ["first", "left", "second"], first)
    # What was done before is in the journal before its successor's end: wait for that in the background mode.
    saved = PortcullisSaver(client)
    until("the step before is stored", lambda: (found := saved.get_tuple(config)) and found.metadata["step"] == 2, first)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert lines() == ["first", "left", "second"]
    second = subprocess.run([*arguments, "go"], env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert lines() == ["first", "left", "second", "second", "third"]
    assert second.stdout.split() == ["first", "left", "second", "third"]


def test_of_parallel_nodes_only_those_run_again_that_were_not_done(client, environment, tmp_path):
    config = thread()
    program = Path(__file__).parent / "programs" / "parallel.py"
    ran = tmp_path / "ran"
    arguments = [sys.executable, str(program), config["configurable"]["thread_id"], str(ran)]

    def lines() -> list[str]:
        return sorted(ran.read_text().split()) if ran.exists() else []

    first = subprocess.Popen([*arguments, "hold"], env=environment)
    saved = PortcullisSaver(client)

    def is_stored() -> bool:
        # The step before these nodes writes the same channel: the input, an empty list.
        found = saved.get_tuple(config)
        return bool(found and any(write[1:] == ("done", ["quick"]) for write in found.pending_writes))

    until("the quick node's write is stored", is_stored, first)
    until("the slow node is under way", lambda: lines() == ["quick", "slow"], first)
    first.kill()
    first.wait()
    second = subprocess.run([*arguments, "go"], env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert lines() == ["quick", "slow", "slow"]
    assert sorted(second.stdout.split()) == ["quick", "slow"]
