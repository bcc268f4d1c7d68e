// Requests signed by a library that knows nothing of Everstream.

import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { signingFetch } from '../../../../clients/node/everstream-sign.mjs';

const { GATEWAY_PORT, SIGNING_KEY, UPSTREAM_TEXT } = process.env;
const root = `http://127.0.0.1:${GATEWAY_PORT}`;
const messages = [{ role: 'user', content: 'hi' }];

test('the SDK streams an answer with signed requests', async () => {
  const client = new OpenAI({ baseURL: `${root}/v1`, apiKey: 'signed', fetch: signingFetch(SIGNING_KEY), maxRetries: 0 });
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model: 'fake', messages, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? '';
  }
  assert.equal(text, UPSTREAM_TEXT);
  assert.ok((await client.models.list()).data.length > 0);
});

test('a request is good once, and as it was signed', async () => {
  let sent;
  const keep = signingFetch(SIGNING_KEY, (url, init) => {
    sent = { url, init };
    return new Response();
  });
  const code = async (url, init) => (await (await fetch(url, init)).json()).error?.code;
  const ask = () =>
    keep(`${root}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'fake', messages }),
    });
  await ask();
  assert.equal(await code(sent.url, sent.init), undefined);
  assert.equal(await code(sent.url, sent.init), 'request_replayed');
  await ask();
  assert.equal(await code(sent.url, { ...sent.init, body: `${sent.init.body} ` }), 'invalid_signature');
  await ask();
  assert.equal(await code(`${root}/v1/embeddings`, sent.init), 'invalid_signature');
});
