"""Tokens that another's library signs are taken, and ones that are forged are not."""

import base64
import hmac
import http.server
import json
import threading
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness import ALICE, Gateway
from jwt.algorithms import get_default_algorithms

KEYS = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwks(keys):
    def jwk(alg, key):
        public = get_default_algorithms()[alg].to_jwk(key.public_key())
        return json.loads(public) | {"kid": f"key-{alg}", "alg": alg, "use": "sig"}

    return json.dumps({"keys": [jwk(alg, key) for alg, key in keys.items()]})


@pytest.fixture(scope="module")
def issuer():
    """Serves its OpenID configuration and its keys. Its name is its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            texts = {
                "/.well-known/openid-configuration": json.dumps({"issuer": name, "jwks_uri": f"{name}/keys"}),
                "/keys": jwks(KEYS),
            }
            text = texts.get(self.path, "").encode()
            self.send_response(200 if text else 404)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    name = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield name
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", params=["discovered", "file"])
def trusting(request, tmp_path_factory, running_provider, issuer):
    """A gateway that trusts the issuer, whose keys it asks for or has in a file."""
    directory = tmp_path_factory.mktemp(request.param)
    config = directory / "everstream.toml"
    keys = directory / "jwks.json"
    keys.write_text(jwks(KEYS))
    where = f'jwks = "file:{keys}"' if request.param == "file" else ""
    config.write_text(
        f'[[jwt_issuers]]\nissuer = "{issuer}"\naudience = ["everstream"]\n{where}\n'
        'project = "claim:team"\nscope_claim = "scope"\n'
    )
    gateway = Gateway(directory, running_provider.url, EVERSTREAM_CONFIG=str(config))
    yield gateway
    assert gateway.process.stop() == 0, gateway.process.log.read_text(errors="replace")[-2000:]


def claims(issuer, **changes):
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": "alice",
        "aud": "everstream",
        "iat": now,
        "exp": now + 600,
        "team": "web",
        "scope": "openid everstream:surface:* everstream:model:fake*",
    } | changes


def token(alg, claims, **headers):
    return jwt.encode(claims, KEYS[alg], alg, headers={"kid": f"key-{alg}"} | headers)


def confused(alg, claims, public, kid):
    """A token with a public key as its shared secret, which the library refuses to make."""
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
    header = {"alg": alg, "kid": kid, "typ": "JWT"}
    message = b".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.new(public, message, f"sha{alg[2:]}").digest()
    return (message + b"." + encode(signature)).decode()


def ask(gateway, bearer, model="fake"):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {bearer}"}
    return httpx.post(f"{gateway.url}/chat/completions", json=body, headers=headers, timeout=30)


@pytest.mark.parametrize("alg", KEYS)
def test_tokens_of_a_library_are_taken(trusting, issuer, alg):
    for times in range(2):
        reply = ask(trusting, token(alg, claims(issuer)))
        assert reply.status_code == 200, reply.text
    stream = trusting.root + reply.headers["content-location"]
    for team, status in (("web", 200), ("ops", 404)):
        bearer = token(alg, claims(issuer, team=team))
        assert httpx.get(stream, headers={"Authorization": f"Bearer {bearer}"}).status_code == status
    assert ask(trusting, token(alg, claims(issuer)), model="other").status_code == 403
    assert ask(trusting, ALICE).status_code == 200


@pytest.mark.parametrize("alg", KEYS)
def test_what_is_wrong_is_refused(trusting, issuer, alg):
    now = int(time.time())
    for wrong in (
        {"exp": now - 120},
        {"nbf": now + 120},
        {"aud": "another"},
        {"iss": issuer + "/"},
        {"team": "no name"},
    ):
        assert ask(trusting, token(alg, claims(issuer, **wrong))).status_code == 401, wrong
    for headers in ({"kid": "another"}, {"typ": "dpop+jwt"}, {"crit": ["b64"], "b64": False}):
        assert ask(trusting, token(alg, claims(issuer), **headers)).status_code == 401, headers
    assert ask(trusting, jwt.encode(claims(issuer), None, "none")).status_code == 401
    public = KEYS[alg].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for forged in ("HS256", "HS512"):
        assert ask(trusting, confused(forged, claims(issuer), public, f"key-{alg}")).status_code == 401
