"""No key of a provider or a client is ever shown or stored."""

import httpx
from harness import ALICE, BOB, UPSTREAM_KEY, Gateway

SECRETS = [UPSTREAM_KEY.encode(), ALICE.encode(), BOB.encode(), b"sk-wrong-canary"]


def test_keys_leave_no_trace(tmp_path, provider):
    gateway = Gateway(tmp_path, provider.url, EVERSTREAM_LOG="debug")
    seen = bytearray()

    def note(response):
        seen.extend(str(response.headers.multi_items()).encode() + response.content)
        return response

    def post(path, key=ALICE, headers=None, **body):
        return note(http.post(path, json=body, headers={"Authorization": f"Bearer {key}", **(headers or {})}))

    try:
        with httpx.Client(base_url=gateway.root, timeout=30) as http:
            chat, ask = "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}
            first = post(chat, model="fake", stream=True, headers={"Idempotency-Key": "k"}, **ask)
            assert first.status_code == 200
            for model in ("fake", "fake-error-401", "fake-error-500", "fake-midstream-error-3", "fake-cut-3", "none"):
                post(chat, model=model, **ask)
                post(chat, model=model, stream=True, **ask)
            assert post(chat, key="sk-wrong-canary", model="fake", **ask).status_code == 401
            assert note(http.get(f"/v1/models?key={ALICE}&token=sk-wrong-canary")).status_code == 401
            stream = first.headers["content-location"]
            for key, status in ((ALICE, 200), (BOB, 404)):
                for path in (stream, "/v1/streams"):
                    reply = note(http.get(path, headers={"Authorization": f"Bearer {key}"}))
                    assert path != stream or reply.status_code == status
            for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
                note(http.get(path))
    finally:
        gateway.process.stop()

    stored = [path for path in gateway.data.rglob("*") if path.is_file()]
    assert any(b"chat.completion.chunk" in path.read_bytes() for path in stored), "the answers are in the data directory"
    for secret in SECRETS:
        assert secret not in bytes(seen), "in a response"
        assert secret not in gateway.process.log.read_bytes(), "in the gateway's output"
        assert [path for path in stored if secret in path.read_bytes()] == [], "in the data directory"
