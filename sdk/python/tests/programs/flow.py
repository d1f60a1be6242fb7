"""A CrewAI flow of three steps. `hold` stops for good in the second one; `go_on` continues with what was saved."""

import sys
import threading
from pathlib import Path

from crewai.flow.flow import Flow, listen, start
from crewai.flow.persistence import persist
from pydantic import BaseModel

from portcullis.crewai import PortcullisPersistence

identity, ran, mode = sys.argv[1:]


class Claim(BaseModel):
    id: str = ""
    done: list[str] = []


@persist(PortcullisPersistence())
class Review(Flow[Claim]):
    def step(self, name: str) -> None:
        # A flow begins from its start again: what was done is known from its state.
        if name in self.state.done:
            return
        with Path(ran).open("a") as out:
            out.write(f"{name}\n")
        if name == "second" and mode == "hold":
            threading.Event().wait()
        self.state.done.append(name)

    @start()
    def first(self) -> None:
        self.step("first")

    @listen(first)
    def second(self) -> None:
        self.step("second")

    @listen(second)
    def third(self) -> None:
        self.step("third")


flow = Review(suppress_flow_events=True)
flow.kickoff(inputs={"id": identity})
Path(ran).with_suffix(".state").write_text(" ".join(flow.state.done))
