"""The official OpenAI client against the gateway's /v1.

PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom; PORTCULLIS_MODEL is a model that answers (default `scripted`).
PORTCULLIS_POOR_KEY, when set, is a key whose budget is spent; TOOL_PROMPT is what to say to make the model call a tool.
"""

import json
import os
import sys

import openai

URL = os.environ.get("PORTCULLIS_URL", "http://127.0.0.1:4040").rstrip("/")
KEY = os.environ.get("PORTCULLIS_KEY", "")
MODEL = os.environ.get("PORTCULLIS_MODEL", "scripted")
POOR_KEY = os.environ.get("PORTCULLIS_POOR_KEY")
TOOL_PROMPT = os.environ.get("TOOL_PROMPT", "What is the weather in Chicago?")
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main() -> None:
    client = connect(KEY)
    lists_models(client)
    completes(client)
    streams(client)
    calls_tools(client)
    keeps_unknown_fields(client)
    responds(client)
    streams_responses(client)
    converses(client)
    is_answered_once(client)
    is_refused(client)
    runs_out_of_budget()


def connect(key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0, timeout=30)


def check(sentence: str, holds: object, seen: object = None) -> None:
    if not holds:
        sys.exit(f"FAILED {sentence}; saw {seen!r}")
    print("ok", sentence, flush=True)


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def lists_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    check(f"the model list holds {MODEL}", MODEL in names, names)


def completes(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=say("Say hello."))
    choice = answer.choices[0]
    check("a completion carries text", choice.message.content and choice.finish_reason == "stop", answer)
    check("a completion carries its usage", answer.usage and answer.usage.total_tokens > 0, answer.usage)


def streams(client: openai.OpenAI) -> None:
    quiet = list(client.chat.completions.create(model=MODEL, messages=say("Say hello."), stream=True))
    check("a stream carries text", text_of(quiet), quiet)
    check("a stream ends with a reason", quiet[-1].choices and quiet[-1].choices[0].finish_reason == "stop", quiet[-1])
    check("a stream has no usage unless asked", not any(chunk.usage for chunk in quiet), quiet[-1])
    ask = {"include_usage": True}
    full = list(client.chat.completions.create(model=MODEL, messages=say("Say hello."), stream=True, stream_options=ask))
    check("a stream ends with its usage when asked", full[-1].usage and not full[-1].choices, full[-1])
    check("the same text comes with and without usage", text_of(full) == text_of(quiet), text_of(full))


def text_of(chunks: list) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def calls_tools(client: openai.OpenAI) -> None:
    ask = {"model": MODEL, "messages": say(TOOL_PROMPT), "tools": [WEATHER]}
    choice = client.chat.completions.create(**ask).choices[0]
    calls = choice.message.tool_calls or []
    check("the model calls a tool", [call.function.name for call in calls] == ["weather"], choice)
    check("a tool call has JSON arguments", isinstance(json.loads(calls[0].function.arguments), dict), calls)

    with client.chat.completions.stream(**ask) as stream:
        streamed = stream.get_final_completion().choices[0]
    arguments = [(call.function.name, call.function.arguments) for call in streamed.message.tool_calls or []]
    check("a streamed tool call is the same call", arguments == [("weather", calls[0].function.arguments)], streamed)
    check("a streamed tool call ends with its reason", streamed.finish_reason == choice.finish_reason, streamed)

    history = [*ask["messages"], choice.message, {"role": "tool", "tool_call_id": calls[0].id, "content": "mild"}]
    after = client.chat.completions.create(model=MODEL, messages=history, tools=[WEATHER])
    check("the model goes on after the tool's result", after.choices[0].message is not None, after)


def keeps_unknown_fields(client: openai.OpenAI) -> None:
    extra = {"x_unknown": {"deep": [1, None, 1e-7]}, "prompt_cache_key": "k"}
    answer = client.chat.completions.create(model=MODEL, messages=say("Say hello."), extra_body=extra)
    check("unknown request fields pass", answer.choices[0].message.content, answer)


def responds(client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input="Say hello.", metadata={"a": "b"})
    check("a response carries text and usage", first.output_text and first.usage and first.usage.total_tokens > 0, first)
    check("a response is kept", client.responses.retrieve(first.id).output_text == first.output_text)
    items = list(client.responses.input_items.list(first.id))
    check("a response's input is kept", [item.content[0].text for item in items] == ["Say hello."], items)
    second = client.responses.create(model=MODEL, input="Say hello.", previous_response_id=first.id, instructions="Be kind.")
    check("a response goes on from another one", second.previous_response_id == first.id and second.output_text, second)
    tool = {"type": "function", "strict": None, **WEATHER["function"]}
    called = client.responses.create(model=MODEL, input=TOOL_PROMPT, tools=[tool])
    calls = [item for item in called.output if item.type == "function_call"]
    check("a response calls a tool", [call.name for call in calls] == ["weather"], called.output)
    output = {"type": "function_call_output", "call_id": calls[0].call_id, "output": "mild"}
    after = client.responses.create(model=MODEL, input=[output], previous_response_id=called.id, tools=[tool])
    check("a response goes on after the tool's result", after.output_text, after.output)
    client.responses.delete(first.id)
    gone = refusal(openai.NotFoundError, lambda: client.responses.retrieve(first.id))
    check("a deleted response is a NotFoundError", gone.code == "not_found", gone.body)
    search = lambda: client.responses.create(model=MODEL, input="hi", tools=[{"type": "web_search"}])  # noqa: E731
    check("a provider's own tool is a BadRequestError", refusal(openai.BadRequestError, search).param == "tools[0].type")
    cancel = refusal(openai.BadRequestError, lambda: client.responses.cancel(second.id))
    check("only background responses are cancelled", "background" in cancel.message, cancel.body)


def streams_responses(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="Say hello.") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    check("a streamed response begins and ends", (kinds[0], kinds[-1]) == ("response.created", "response.completed"), kinds)
    check("a streamed response is kept", client.responses.retrieve(final.id).output_text == final.output_text, final)
    tool = {"type": "function", "strict": None, **WEATHER["function"]}
    with client.responses.stream(model=MODEL, input=TOOL_PROMPT, tools=[tool]) as stream:
        called = stream.get_final_response()
    calls = [item for item in called.output if item.type == "function_call"]
    check("a streamed call is whole", [json.loads(call.arguments)["city"] for call in calls] == ["Chicago"], called.output)


def converses(client: openai.OpenAI) -> None:
    conversation = client.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": "Say hello."}])
    check("a conversation is there", client.conversations.retrieve(conversation.id).metadata == {"a": "b"}, conversation)
    answer = client.responses.create(model=MODEL, input="Say hello.", conversation=conversation.id)
    items = list(client.conversations.items.list(conversation.id, order="asc"))
    check("a conversation holds what was said", [item.role for item in items] == ["user", "user", "assistant"], items)
    check("its last item is the answer", items[-1].content[0].text == answer.output_text, items)
    client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    check("an item is deleted", len(list(client.conversations.items.list(conversation.id))) == 2)
    changed = client.conversations.update(conversation.id, metadata={"c": "d"})
    check("a conversation's metadata is changed", changed.metadata == {"c": "d"}, changed)
    check("a conversation is deleted", client.conversations.delete(conversation.id).deleted)


def is_answered_once(client: openai.OpenAI) -> None:
    key = {"Idempotency-Key": "once"}
    ask = lambda: client.chat.completions.create(model=MODEL, messages=say("Say hello."), extra_headers=key)  # noqa: E731
    check("a key has one answer", ask().id == ask().id)
    reused = lambda: client.chat.completions.create(model=MODEL, messages=say("Say more."), extra_headers=key)  # noqa: E731
    error = refusal(openai.UnprocessableEntityError, reused)
    check("a key is for one request", error.code == "idempotency_key_reused", error.body)


def is_refused(client: openai.OpenAI) -> None:
    wrong = refusal(openai.AuthenticationError, lambda: connect(KEY + "-wrong").models.list())
    check("a wrong key is an AuthenticationError with a code", wrong.status_code == 401 and wrong.code, wrong.body)
    hello = say("Say hello.")
    unknown = refusal(openai.NotFoundError, lambda: client.chat.completions.create(model="no-such-model", messages=hello))
    check("an unknown model is a NotFoundError with a code", unknown.status_code == 404 and unknown.code, unknown.body)
    broken = refusal(openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages="not a list"))
    check("a malformed request is a BadRequestError", broken.status_code == 400 and broken.message, broken.body)


def runs_out_of_budget() -> None:
    if not POOR_KEY:
        return print("skipped the spent budget: PORTCULLIS_POOR_KEY is not set")
    poor = connect(POOR_KEY)
    for stream in (False, True):
        ask = lambda: poor.chat.completions.create(model=MODEL, messages=say("Say hello."), stream=stream)  # noqa: E731
        spent = refusal(openai.APIStatusError, ask)
        check(f"a spent budget is 402 (stream={stream})", spent.status_code == 402, spent.status_code)
        body = spent.body if isinstance(spent.body, dict) else {}
        check("a spent budget says so in code, type and message", body.keys() >= {"code", "type", "message"}, spent.body)


def refusal(kind: type[openai.APIStatusError], ask) -> openai.APIStatusError:
    try:
        answer = ask()
    except openai.APIStatusError as error:
        if isinstance(error, kind):
            return error
        sys.exit(f"FAILED a {kind.__name__} is raised; saw {type(error).__name__} {error.status_code} {error.body!r}")
    sys.exit(f"FAILED a {kind.__name__} is raised; saw an answer {answer!r}")


try:
    main()
except openai.OpenAIError as error:
    sys.exit(f"FAILED {type(error).__name__}: {error}")
