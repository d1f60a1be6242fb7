"""The session, carried into the clients of others."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx2
import openai
from conftest import LIMIT_S, ROOT
from langchain_openai import ChatOpenAI
from mcp import Client as MCPClient
from mcp.client.streamable_http import streamable_http_client

from portcullis.connect import langchain_arguments, mcp_connection, openai_arguments


def test_openai_and_langchain_speak_within_the_session(client):
    session = client.session(f"c-{uuid.uuid4()}")
    with openai.OpenAI(**openai_arguments(session), max_retries=0) as model:
        answer = model.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "SAY one"}])
    assert answer.choices[0].message.content == "one"
    assert ChatOpenAI(model="scripted", **langchain_arguments(session)).invoke("SAY two").content == "two"
    said = [message["content"] for message in session.history()]
    assert said == ["SAY one", "one", "SAY two", "two"]


async def test_mcp_clients_call_within_the_session(client):
    session = client.session(f"c-{uuid.uuid4()}")
    for connection, tool in [
        (mcp_connection(session), "claims__policy_lookup"),
        (mcp_connection(session, "claims"), "policy_lookup"),
    ]:
        async with (
            httpx2.AsyncClient(headers=connection["headers"], timeout=LIMIT_S) as http,
            MCPClient(streamable_http_client(connection["url"], http_client=http)) as tools,
        ):
            assert tool in [listed.name for listed in (await tools.list_tools()).tools]
            assert not (await tools.call_tool(tool, {"claim_id": "claim-99"})).is_error
    assert session.info()["calls"] == 2


def test_the_example_stops_at_the_limit_and_goes_on_with_what_the_manager_says(environment, gateway, tmp_path):
    example = ROOT / "examples" / "claims-langgraph" / "adjuster.py"
    claim = f"claim-{uuid.uuid4().hex[:8]}"

    def run(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, str(example), claim, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    paid = gateway.folder / "payments.jsonl"
    before = paid.read_text() if paid.exists() else ""
    asked = run("--amount", "50000")
    assert "Limit Exceeded. Escalate to Manager." in asked and "waiting for a manager" in asked
    assert "waiting for a manager" in run(), "asked again, it stands where it stood"
    assert not paid.exists() or paid.read_text() == before
    assert "paid $9000.00" in run("--manager", "9000")
    assert "paid $9000.00" in run(), "asked again, it pays nothing"
    assert paid.read_text().removeprefix(before).count(claim) == 1


def test_the_package_can_be_built_and_installed(tmp_path):
    source = tmp_path / "source"
    here = Path(__file__).parents[1]
    for name in ["pyproject.toml", "README.md", *[str(path.relative_to(here)) for path in here.glob("src/portcullis/*")]]:
        if (here / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((here / name).read_bytes())
    run = [sys.executable, "-m"]
    subprocess.run([*run, "build", "--no-isolation", "--wheel", "--outdir", tmp_path, source], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("portcullis-*.whl")
    target = tmp_path / "installed"
    subprocess.run([*run, "pip", "install", "--no-deps", "--no-index", "--target", target, wheel], check=True, cwd=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    code = "import portcullis, portcullis.langgraph; print(portcullis.__file__)"
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).is_relative_to(target) and (target / "portcullis" / "py.typed").is_file()
