// Where the gateway and the scripted provider are, and a proxy that cuts connections.
import assert from 'node:assert/strict';
import net from 'node:net';

export const { GATEWAY_PORT, PROVIDER_PORT, CLIENT_KEY } = process.env;
export const gatewayUrl = `http://127.0.0.1:${GATEWAY_PORT}`;
export const authorization = { authorization: `Bearer ${CLIENT_KEY}` };
export const messages = [{ role: 'user', content: 'hi' }];
const LINE_FEED = 10;
const providerUrl = `http://127.0.0.1:${PROVIDER_PORT}`;

export const calls = async () => (await (await fetch(`${providerUrl}/_calls`)).json()).total;
export const resetCalls = async () => { await (await fetch(`${providerUrl}/_reset`, { method: 'POST' })).text(); };

export async function waitForCalls(count) {
  for (const end = Date.now() + 30_000; (await calls()) < count;) {
    assert.ok(Date.now() < end, `waited for ${count} calls of the provider`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Runs `test` and requires that the provider was called once in it.
export async function calledOnce(test) {
  await resetCalls();
  await test();
  assert.equal(await calls(), 1);
}

// A TCP proxy in front of the gateway. Connection n is cut after `cuts[n]` bytes of replies, later ones never;
// with 0 it is cut before a reply, once `when()` is settled.
export async function throughCuts(cuts, run, when = async () => {}) {
  const open = new Set();
  let connections = 0;
  const server = net.createServer((client) => {
    let budget = cuts[connections++] ?? Infinity;
    const upstream = net.connect(GATEWAY_PORT, '127.0.0.1');
    const cut = () => { client.destroy(); upstream.destroy(); };
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', cut).on('close', () => { open.delete(socket); cut(); });
    }
    if (budget === 0) when().then(cut, cut);
    client.pipe(upstream);
    upstream.on('data', (bytes) => {
      let part = bytes.subarray(0, budget);
      budget -= part.length;
      // fetch-event-source takes the id when its line ends, one byte before the event is whole.
      if (budget === 0 && part.at(-1) === LINE_FEED && bytes[part.length] === LINE_FEED) part = part.subarray(0, -1);
      if (budget > 0) return void client.write(part);
      upstream.removeAllListeners('data');
      client.write(part, () => { client.end(); upstream.destroy(); });
    });
    upstream.on('end', () => client.end());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await run(`http://127.0.0.1:${server.address().port}`, () => connections);
  } finally {
    server.close();
    for (const socket of open) socket.destroy();
  }
}

// Starts a streamed answer, reads its head only, and gives the address of its stream.
export async function startAnswer(model) {
  const response = await fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...authorization, 'content-type': 'application/json', 'everstream-on-disconnect': 'continue' },
    body: JSON.stringify({ model, messages, stream: true }),
  });
  assert.equal(response.status, 200);
  await response.body.cancel();
  return response.headers.get('content-location');
}

// The whole stream as [{ id, data }], read when it has ended.
export async function readStream(path) {
  const response = await fetch(gatewayUrl + path, { headers: { ...authorization, accept: 'text/event-stream' } });
  assert.equal(response.status, 200);
  const frames = (await response.text()).replaceAll(/^:[^\n]*\n/gm, '').split('\n\n').filter(Boolean);
  const field = (frame, name) => frame.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  return frames.map((frame) => ({ id: field(frame, 'id'), data: field(frame, 'data') }));
}
