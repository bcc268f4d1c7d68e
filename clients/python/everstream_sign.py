"""Signs requests to Everstream (RFC 9421), so that the key's secret never leaves the program.

    from openai import OpenAI, DefaultHttpxClient
    from everstream_sign import SigningTransport

    client = OpenAI(api_key="signed", http_client=DefaultHttpxClient(transport=SigningTransport(os.environ["EVERSTREAM_API_KEY"])))

It needs `pip install http-message-signatures`, and serves every SDK built on httpx or httpx2. Retries of the SDK are
signed anew, as each signature is good for one request.
"""

import importlib
import secrets
from types import SimpleNamespace

from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms


class SigningTransport:
    """A transport around `inner` (a plain `HTTPTransport` if none is given) for `httpx.Client`.

    `key`: es-<id>-<secret>, made with `everstream keys create`.
    """

    def __init__(self, key, inner=None):
        _, self._key_id, secret = key.split("-")
        keys = MappingKeyResolver(private_keys={self._key_id: secret.encode()}, public_keys={})
        self._signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys)
        self._inner = inner

    def handle_request(self, request):
        # The transport of the library whose request it is.
        self._inner = self._inner or importlib.import_module(type(request).__module__.split(".")[0]).HTTPTransport()
        self.sign(request)
        return self._inner.handle_request(request)

    def sign(self, request):
        """Adds `Content-Digest`, if there is a body, `Signature-Input` and `Signature` to a request."""
        body = request.read()
        for name in ("content-digest", "signature-input", "signature"):
            request.headers.pop(name, None)
        message = SimpleNamespace(method=request.method, url=str(request.url), headers={"host": request.headers["host"]})
        self._signer.sign(
            message,
            key_id=self._key_id,
            nonce=secrets.token_urlsafe(16),
            tag="everstream",
            covered_component_ids=("@method", "@target-uri"),
            # It covers the digest too.
            body=body or None,
        )
        message.headers.pop("host")
        request.headers.update(message.headers)
        # The key itself is not sent, nor what the SDK has in its place.
        request.headers.pop("authorization", None)

    def close(self):
        if self._inner:
            self._inner.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
