"""Faults on a real TCP link between the gateway and a provider.

A client gets a whole answer, or an error that says so, in time; never a cut answer that looks whole. With a
second deployment it gets the whole answer whenever the first has said nothing yet.
"""

import json
import time
import urllib.error
import urllib.request

import pytest
from harness import ALICE, frames

WHOLE, ERROR = "whole", "error"
# The timeouts are 2 s each; with two attempts and a pause between them nothing takes longer.
BOUND = 15

# Name, toxics (kind, attributes), what becomes of a route of one deployment: what has to, or None if that
# depends on where the fault strikes.
FAULTS = [
    ("latency", [("latency", {"latency": 300, "jitter": 100})], WHOLE),
    ("little bandwidth", [("bandwidth", {"rate": 4})], WHOLE),
    ("small pieces", [("slicer", {"average_size": 7, "size_variation": 3, "delay": 100})], WHOLE),
    ("slow close", [("slow_close", {"delay": 1000})], WHOLE),
    ("nothing arrives", [("timeout", {"timeout": 0})], ERROR),
    ("nothing arrives, and it closes", [("timeout", {"timeout": 300})], ERROR),
    ("reset at once", [("reset_peer", {"timeout": 0})], ERROR),
    ("reset in the middle", [("latency", {"latency": 20}), ("reset_peer", {"timeout": 80})], None),
    ("requests do not arrive", [("timeout", {"timeout": 0, "stream": "upstream"})], ERROR),
    ("half a request arrives", [("limit_data", {"bytes": 40, "stream": "upstream"})], ERROR),
    *((f"cut after {n} bytes", [("limit_data", {"bytes": n})], ERROR if n < 2000 else None) for n in (1, 100, 400, 1000, 2000, 4000)),
]


def ask(gateway, model, stream):
    """Status, body, and the seconds that it took."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {ALICE}"}
    began = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{gateway.url}/chat/completions", body, headers), timeout=60) as reply:
            status, got = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        status, got = error.code, error.read()
    return status, got, time.monotonic() - began


def outcome(status, body, stream, text):
    """Whether the answer is whole; anything else has to be an honest error."""
    if status != 200:
        assert status in (502, 503, 504), (status, body)
        assert json.loads(body)["error"]["message"]
        return ERROR
    if not stream:
        assert json.loads(body)["choices"][0]["message"]["content"] == text
        return WHOLE
    data = [frame.field(b"data") for frame in frames(body)]
    chunks = [json.loads(line) for line in data if line != b"[DONE]"]
    said = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("choices", []))
    if data[-1] == b"[DONE]":
        assert said == text and chunks[-1]["choices"][0]["finish_reason"] == "stop", body
        return WHOLE
    assert b"[DONE]" not in data and chunks[-1]["error"]["message"], body
    assert text.startswith(said), body
    return ERROR


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "body"])
@pytest.mark.parametrize(("toxics", "expected"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_whole_or_an_honest_error(gateway, provider, proxy, toxics, expected, stream):
    text = provider.text("fake")
    for kind, attributes in toxics:
        proxy.add(kind, **attributes)
    for model in ("alone", "two"):
        provider.reset()
        status, body, took = ask(gateway, model, stream)
        got = outcome(status, body, stream, text)
        assert took < BOUND
        assert provider.calls()["total"] <= 4
        nothing_was_heard = status != 200 or got == WHOLE
        if model == "two" and nothing_was_heard:
            assert got == WHOLE, (status, body)
        if model == "alone" and expected == WHOLE:
            assert got == WHOLE, (status, body)
        # A body of one piece may fit where a stream does not.
        if model == "alone" and expected == ERROR and stream:
            assert got == ERROR, body


def test_a_link_that_is_down_and_up_again(gateway, provider, proxy):
    text = provider.text("fake")
    proxy.listen(False)
    assert outcome(*ask(gateway, "alone", True)[:2], True, text) == ERROR
    assert outcome(*ask(gateway, "two", True)[:2], True, text) == WHOLE
    proxy.listen(True)
    deadline = time.monotonic() + BOUND
    while outcome(*ask(gateway, "alone", True)[:2], True, text) == ERROR:
        assert time.monotonic() < deadline
        time.sleep(0.1)
