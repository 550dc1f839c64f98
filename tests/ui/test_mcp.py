"""The endpoints as tools of the Model Context Protocol, called with the protocol's own client."""

import asyncio
import base64
import json
import shutil

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from llmdemo.access.people import Access
from llmdemo.settings import Settings
from llmdemo.ui.app import build, launch_options
from llmdemo.ui.services import make_services

PATH = "gradio_api/mcp/"


def asked(url: str, *calls: tuple[str, dict]):
    """(names of all tools, one answer a call: its text and whether it is an error)."""

    async def ask():
        async with streamablehttp_client(url + PATH) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            answers = [await session.call_tool(name, arguments) for name, arguments in calls]
            return tools, [(" ".join(part.text for part in one.content), one.isError) for one in answers]

    return asyncio.run(ask())


def test_every_endpoint_is_a_tool_with_its_documentation(server):
    named = httpx.get(server + "gradio_api/info", timeout=60).json()["named_endpoints"]
    tools, _ = asked(server)
    assert {name.strip("/") for name in named} <= {tool.name for tool in tools}
    compare = next(tool for tool in tools if tool.name == "compare")
    assert "top_k" in compare.description and {"model_id", "prompt"} <= set(compare.inputSchema["properties"])


def test_tools_answer_as_the_endpoints_do_and_fail_with_their_sentences(server):
    lanes = {"lanes": ["greedy"], "max_new_tokens": 4}
    _, answers = asked(
        server,
        ("list_models", {}),
        ("compare", {"model_id": "starter", "prompt": "Hello", "settings": lanes}),
        ("run_status", {"run_id": "no such run"}),
    )
    assert '"starter"' in answers[0][0].replace("'", '"')
    assert "greedy" in answers[1][0] and "token_ids" in answers[1][0]
    assert answers[2][1] and "no such run" in answers[2][0]


def test_a_file_sent_as_data_becomes_a_data_set_and_an_address_is_not_fetched(server):
    records = json.dumps([{"instruction": f"Add {i} and {i}.", "output": str(2 * i)} for i in range(8)])
    data = "data:application/json;base64," + base64.b64encode(records.encode()).decode()
    _, (kept, fetched) = asked(
        server,
        ("add_dataset", {"file": data, "name": "sums"}),
        ("add_dataset", {"file": "http://127.0.0.1:9/a.json", "name": "elsewhere"}),
    )
    assert not kept[1] and "dataset_id" in kept[0], kept
    assert fetched[1], fetched


def test_a_site_that_is_open_in_the_same_browser_reaches_no_tool(server):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Origin": "https://evil.example", "Accept": "application/json, text/event-stream"}
    assert httpx.post(server + PATH, json=call, headers=headers, timeout=60).status_code == 403


@pytest.mark.parametrize("policy", ["guests", "accounts"])
@pytest.mark.slow
def test_where_others_can_reach_the_page_there_are_no_tools(tmp_path, tiny_model_folder, policy):
    """Gradio's MCP server would call the endpoints from this computer, whoever asks."""
    shutil.copytree(tiny_model_folder, tmp_path / "home" / "models" / "starter")  # else the real one is fetched
    access = Access(policy, {"ann": "x"} if policy == "accounts" else {})
    services = make_services(Settings(home=tmp_path / "home", min_free_bytes=0), access=access)
    page = build(services)
    try:
        _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_options(services))
        assert httpx.post(url + PATH, json={}, timeout=60).status_code in (403, 404, 405)
    finally:
        page.close(verbose=False)
        services.close()
