"""A graph of which every node notes that it ran; `hold` stops for good in the second one."""

import operator
import sys
import threading
from pathlib import Path
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph

from portcullis import Client
from portcullis.langgraph import PortcullisSaver

thread, ran, durability, mode = sys.argv[1:]
NAMES = ["first", "left", "second", "third"]


class State(TypedDict):
    done: Annotated[list[str], operator.add]


def node(name):
    def run(state):
        with Path(ran).open("a") as out:
            out.write(f"{name}\n")
        if name == "second" and mode == "hold":
            threading.Event().wait()
        return {"done": [name]}

    return run


builder = StateGraph(State)
for before, name in zip([START, *NAMES], NAMES, strict=False):
    builder.add_node(name, node(name))
    builder.add_edge(before, name)
builder.add_edge(NAMES[-1], END)
graph = builder.compile(checkpointer=PortcullisSaver(Client()))
config = {"configurable": {"thread_id": thread}}
begun = graph.get_state(config).next
print(*graph.invoke(None if begun else {"done": []}, config, durability=durability)["done"])
