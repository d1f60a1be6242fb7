"""Two nodes of one step: `quick` is done at once, `slow` stops for good when told to hold."""

import operator
import sys
import threading
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

from portcullis import Client
from portcullis.langgraph import PortcullisSaver

thread, ran, mode = sys.argv[1:]


class State(TypedDict):
    done: Annotated[list[str], operator.add]


def note(name):
    with Path(ran).open("a") as out:
        out.write(f"{name}\n")


def quick(state):
    note("quick")
    return {"done": ["quick"]}


def slow(state):
    note("slow")
    if mode == "hold":
        threading.Event().wait()
    return {"done": ["slow"]}


builder = StateGraph(State)
for name, run in [("quick", quick), ("slow", slow)]:
    builder.add_node(name, run)
    builder.add_edge(START, name)
    builder.add_edge(name, END)
graph = builder.compile(checkpointer=PortcullisSaver(Client()))
config = {"configurable": {"thread_id": thread}}
print(*graph.invoke(None if graph.get_state(config).next else {"done": []}, config)["done"])
