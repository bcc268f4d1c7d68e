// Signs requests to Everstream (RFC 9421), so that the key's secret never leaves the program.
//
//   import OpenAI from 'openai';
//   import { signingFetch } from './everstream-sign.mjs';
//
//   const client = new OpenAI({ apiKey: 'signed', fetch: signingFetch(process.env.EVERSTREAM_API_KEY) });
//
// It needs `npm install http-message-signatures`. Retries of the SDK are signed anew, as each signature is good for one
// request.

import { createHash, randomBytes } from 'node:crypto';
import { createSigner, httpbis } from 'http-message-signatures';

/**
 * A `fetch` that signs each request with `key`: es-<id>-<secret>, made with `everstream keys create`. Bodies are held in
 * memory to be hashed.
 */
export function signingFetch(key, fetch = globalThis.fetch) {
  const [, id, secret] = key.split('-');
  const signer = createSigner(secret, 'hmac-sha256', id);
  return async (input, init) => {
    const request = new Request(input, init);
    const body = Buffer.from(await request.arrayBuffer());
    const headers = Object.fromEntries(request.headers);
    // The key itself is not sent, nor what the SDK has in its place.
    delete headers.authorization;
    const fields = ['@method', '@target-uri'];
    if (body.length > 0) {
      headers['content-digest'] = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
      fields.push('content-digest');
    }
    const signed = await httpbis.signMessage(
      {
        key: signer,
        fields,
        params: ['created', 'keyid', 'nonce', 'alg', 'tag'],
        paramValues: { created: new Date(), nonce: randomBytes(16).toString('base64url'), tag: 'everstream' },
      },
      { method: request.method, url: request.url, headers },
    );
    return fetch(request.url, {
      method: request.method,
      headers: signed.headers,
      body: body.length > 0 ? body : undefined,
      signal: request.signal,
    });
  };
}
