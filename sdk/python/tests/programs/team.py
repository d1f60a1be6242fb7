"""An AutoGen agent and a team of two, on the gateway's scripted model. `begin` saves them, `go_on` loads and continues them."""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient

from portcullis import AsyncClient
from portcullis.autogen import load, save
from portcullis.connect import openai_arguments

name, mode = sys.argv[1:]
INFO = {"vision": False, "function_calling": True, "json_output": False, "family": "unknown", "structured_output": False}


async def main() -> None:
    async with AsyncClient() as client:
        session = client.session(name)
        model = OpenAIChatCompletionClient(model="scripted", model_info=INFO, max_retries=0, **openai_arguments(session))
        alone = AssistantAgent("alone", model)
        pair = [AssistantAgent(each, model) for each in ("left", "right")]
        team = RoundRobinGroupChat(pair, name="team", termination_condition=MaxMessageTermination(3))
        if mode == "begin":
            await alone.run(task="SAY one")
            await team.run(task="SAY hello")
            print(await save(session, alone), await save(session, team))
        else:
            print(await load(session, alone), await load(session, team), await load(session, alone, key="other"))
            print((await alone.run(task="SAY two")).messages[-1].content)
            context = (await alone.save_state())["llm_context"]["messages"]
            print(*[message["content"] for message in context], sep="|")
            heard = (await team.save_state())["agent_states"]["RoundRobinGroupChatManager"]["message_thread"]
            print(*[message["content"] for message in heard], sep="|")
        await model.close()


asyncio.run(main())
