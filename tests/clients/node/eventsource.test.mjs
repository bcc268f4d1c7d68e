// A browser's EventSource, in its npm form: it reconnects by itself and sends the last id it saw.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSource } from 'eventsource';
import { authorization, calledOnce, gatewayUrl, readStream, startAnswer, throughCuts } from './support.mjs';

const readToken = async (path) => {
  const response = await fetch(`${gatewayUrl}${path}/token`, { method: 'POST', headers: authorization });
  assert.ok(response.ok, `${path}/token: ${response.status}`);
  return (await response.json()).token;
};

// All messages until the library gives up for good.
const listen = (url) => new Promise((resolve) => {
  const seen = [];
  const source = new EventSource(url);
  source.onmessage = ({ lastEventId, data }) => seen.push({ id: lastEventId, data });
  source.onerror = ({ code }) => {
    if (source.readyState === EventSource.CLOSED) resolve({ seen, code });
  };
});

test('a stream read through cuts comes whole, each event once, and ends by 204', { timeout: 60_000 }, () => calledOnce(async () => {
  const path = await startAnswer('fake-200-5');
  const token = await readToken(path);
  const { seen, code } = await throughCuts([2500, 6001], (url) => listen(`${url}${path}?token=${encodeURIComponent(token)}`));
  assert.equal(code, 204);
  assert.deepEqual(seen, await readStream(path));
  assert.equal(seen.at(-1).data, '[DONE]');
  assert.deepEqual(seen.map(({ id }) => Number(id.split('.')[1])), seen.map((_, index) => index + 1));
}));

test('after= is where a first connection begins', { timeout: 60_000 }, () => calledOnce(async () => {
  const path = await startAnswer('fake');
  const whole = await readStream(path);
  const { seen } = await listen(`${gatewayUrl}${path}?after=7&token=${encodeURIComponent(await readToken(path))}`);
  assert.deepEqual(seen, whole.slice(7));
}));

test('a token opens its own stream only', { timeout: 60_000 }, async () => {
  const [mine, other] = [await startAnswer('fake'), await startAnswer('fake')];
  const token = encodeURIComponent(await readToken(mine));
  const { seen, code } = await listen(`${gatewayUrl}${other}?token=${token}`);
  assert.deepEqual(seen, []);
  assert.ok([401, 403, 404].includes(code), `code ${code}`);
});
