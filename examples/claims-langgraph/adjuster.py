"""The claims adjuster as a LangGraph graph whose memory, permission and money are the gateway's.

    (start the gateway of examples/claims-adjuster, as its portcullis.yaml says)
    pip install "portcullis[langgraph]" langchain-openai
    export PORTCULLIS_KEY=$(portcullis identity key create junior)
    python adjuster.py claim-99 --amount 50000    # the policy says no: the graph stops and waits for a manager
    python adjuster.py claim-99 --manager 9000    # in another process, on another day: it goes on from there

Kill it at any moment and run it again: it continues at the node that was not done. The payment carries an idempotency key, so
that a node that runs again does not pay again.
"""

import argparse
from typing import TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from portcullis import Client
from portcullis.connect import langchain_arguments
from portcullis.langgraph import PortcullisSaver


class Claim(TypedDict, total=False):
    amount: float
    report: str
    refusal: str
    summary: str
    paid: float


def graph(client: Client, claim: str) -> CompiledStateGraph:
    session = client.session(claim)
    model = ChatOpenAI(model="scripted", **langchain_arguments(session))

    def look(state: Claim) -> Claim:
        return {"report": session.call_tool("claims__damage_report", {"claim_id": claim}).text}

    def summarise(state: Claim) -> Claim:
        return {"summary": str(model.invoke(f"In one sentence: {state['report']}").content)}

    def pay(state: Claim) -> Claim:
        arguments = {"claim_id": claim, "amount": state["amount"]}
        result = session.call_tool("claims__approve_payment", arguments, idempotency_key=f"pay {state['amount']:.2f}")
        return {"refusal": result.text} if result.is_error else {"refusal": "", "paid": state["amount"]}

    def escalate(state: Claim) -> Claim:
        return {"amount": float(interrupt(state["refusal"]))}

    builder = StateGraph(Claim)
    for node in (look, summarise, pay, escalate):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "look")
    builder.add_edge("look", "summarise")
    builder.add_edge("summarise", "pay")
    builder.add_conditional_edges("pay", lambda state: "escalate" if state["refusal"] else END)
    builder.add_edge("escalate", "pay")
    return builder.compile(checkpointer=PortcullisSaver(client))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("claim")
    parser.add_argument("--amount", type=float, help="begin with this amount")
    parser.add_argument("--manager", type=float, help="what the manager decided")
    given = parser.parse_args()
    with Client() as client:
        adjuster, config = graph(client, given.claim), {"configurable": {"thread_id": given.claim}}
        if given.manager is not None:
            adjuster.invoke(Command(resume=given.manager), config)
        elif given.amount is not None:
            adjuster.invoke({"amount": given.amount}, config)
        elif adjuster.get_state(config).next:
            adjuster.invoke(None, config)
        state = adjuster.get_state(config)
        print(state.values.get("summary", "nothing is known of this claim"))
        for waiting in state.interrupts:
            print(f"{waiting.value} (waiting for a manager)")
        if "paid" in state.values:
            print(f"paid ${state.values['paid']:.2f}")


if __name__ == "__main__":
    main()
