"""A real model's answer, cut half way and read to its end."""

import json
import os
import subprocess

import httpx
import openai
import pytest
from everstream_resume import ResumingTransport
from harness import ALICE, ROOT, CuttingProxy, Process, binary, frames, free_port

TOKENS = 48
ASK = {
    "model": "smollm2",
    "stream": True,
    "max_tokens": TOKENS,
    "messages": [{"role": "user", "content": "Tell me a story about a river."}],
}


@pytest.fixture
def http(gateway):
    with httpx.Client(base_url=gateway.root, headers={"Authorization": f"Bearer {ALICE}"}, timeout=120) as http:
        yield http


def read(http, path, **headers):
    with http.stream("GET", path, headers={"Accept": "text/event-stream", **headers}) as reply:
        assert reply.status_code == 200
        return [frame.raw for frame in frames(reply.read())]


def test_an_answer_cut_half_way_goes_on_where_it_stopped(http):
    with http.stream("POST", "/v1/chat/completions", json=ASK) as reply:
        assert reply.status_code == 200
        path, seen = reply.headers["content-location"], b""
        for piece in reply.iter_raw():
            seen += piece
            if seen.count(b"\n\n") >= TOKENS // 2:
                break
    first_half = [frame for frame in frames(seen[: seen.rindex(b"\n\n") + 2])]
    last_id = first_half[-1].field(b"id").decode()
    rest = read(http, path, **{"Last-Event-ID": last_id})
    whole = read(http, path)
    assert [frame.raw for frame in first_half] + rest == whole
    assert len(first_half) < len(whole)
    assert b"data: [DONE]\n" in whole[-1]
    chunks = [json.loads(frame.field(b"data")) for frame in frames(b"".join(whole))[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert len(text.split()) > 10
    assert http.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": f"{last_id.split('.')[0]}.{len(whole)}"}).status_code == 204


def test_the_sdk_does_not_notice_a_cut(gateway):
    with CuttingProxy(gateway.port, [3000]) as proxy:
        client = openai.DefaultHttpxClient(transport=ResumingTransport())
        with openai.OpenAI(base_url=proxy.url, api_key=ALICE, max_retries=0, http_client=client) as api:
            chunks = list(api.chat.completions.create(**ASK))
        assert proxy.connections == 2
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) >= TOKENS // 2


def test_answers_that_are_not_streamed_and_the_list_of_models(http):
    answer = http.post("/v1/chat/completions", json=ASK | {"stream": False, "max_tokens": 8}).json()
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] == 8
    assert "smollm2" in [model["id"] for model in http.get("/v1/models").json()["data"]]


def test_with_nothing_configured_make_run_starts_a_model_and_its_words_get_an_answer(tmp_path, model_url):
    found_by = ("_API_KEY", "_BASE_URL")
    env = {name: value for name, value in os.environ.items() if not name.endswith(found_by)} | {
        "EVERSTREAM_BINARY": binary("everstream"),
        "EVERSTREAM_LISTEN": f"127.0.0.1:{free_port()}",
        "EVERSTREAM_ADMIN_LISTEN": "off",
        "EVERSTREAM_DATA_DIR": str(tmp_path / "data"),
        "SMALL_MODEL_RUN": str(tmp_path),
    }
    run = Process([str(ROOT / "scripts" / "run.sh")], tmp_path / "run.log", env)
    try:
        command = run.wait_for_line(r"^  (curl -N \S+/v1/chat/completions .*)$", 120)
        answer = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, timeout=120, check=True)
        assert frames(answer.stdout)[-1].field(b"data") == b"[DONE]"
    finally:
        assert run.stop() == 0
