// @microsoft/fetch-event-source unchanged: it repeats the whole POST, with the last id it saw.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorization, calledOnce, messages, readStream, throughCuts } from './support.mjs';

// The library asks for a page; these are the parts of it that it touches.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const { fetchEventSource } = await import('@microsoft/fetch-event-source');

test('a POST cut twice and repeated by the library goes on where it was', { timeout: 60_000 }, () => calledOnce(async () => {
  const seen = [];
  let path;
  let posts = 0;
  await throughCuts([2500, 6001], (url) => fetchEventSource(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'fake-200-5', messages, stream: true }),
    openWhenHidden: true,
    async onopen(response) {
      posts += 1;
      assert.equal(response.status, 200);
      path ??= response.headers.get('content-location');
      assert.equal(response.headers.get('content-location'), path);
    },
    onmessage: ({ id, data }) => seen.push({ id, data }),
    onerror(error) {
      if (error instanceof assert.AssertionError) throw error;
    },
  }));
  assert.equal(posts, 3);
  assert.deepEqual(seen, await readStream(path));
  assert.equal(seen.at(-1).data, '[DONE]');
}));
