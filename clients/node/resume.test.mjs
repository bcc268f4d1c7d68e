// The fetch wrapper under the real `openai` SDK, against a scripted server that cuts wherever it is told to.
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import OpenAI from 'openai';
import { resumingFetch } from './everstream-resume.mjs';

const STREAM = '0k3v9f2m7qx4c';
const PATH = `/v1/streams/${STREAM}`;
const WORDS = ['Naïve', ' 日本', ' 🦀', ' done', '\n\nid: 0k3v9f2m7qx4c.99\n\n'];
const HEARTBEAT = Buffer.from(': ping\n');

const frame = (seq, data) => Buffer.from(`${seq === 1 ? 'retry: 1000\n' : ''}data: ${data}\nid: ${STREAM}.${seq}\n\n`);
const chunk = (content) =>
  JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { content } }] });
const ANSWER = [...WORDS.map((word, i) => frame(i + 1, chunk(word))), frame(WORDS.length + 1, '[DONE]')];

const head = (extra = `Content-Location: ${PATH}\r\n`) =>
  `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n${extra}Transfer-Encoding: chunked\r\n\r\n`;
const refusal = (status) => ({ head: `HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n` });

const restAfter = (cursor, answer) => {
  if (cursor === undefined) return answer;
  const [stream, seq] = cursor.split('.');
  assert.equal(stream, STREAM);
  return answer.slice(Number(seq));
};

// A gateway whose first `cuts` replies end after `cutAt` bytes, their chunked coding unfinished.
const gateway = (cutAt, { answer = ANSWER, heartbeat = Buffer.alloc(0), cuts = 1 } = {}) => ({ method, headers, count }) => {
  const frames = method === 'GET' ? restAfter(headers['last-event-id'], answer) : answer;
  if (!frames.length) return refusal('204 No Content');
  const body = Buffer.concat(frames.flatMap((bytes) => [heartbeat, bytes]));
  return count <= cuts ? { head: head(), body: body.subarray(0, cutAt) } : { head: head(), body, whole: true };
};

// Answers each connection by `script(request)` and closes it; a reply that is not `whole` is a cut.
async function serve(script, run) {
  const requests = [];
  const server = net.createServer((socket) => {
    let received = '';
    socket.on('error', () => {});
    socket.on('data', function read(bytes) {
      received += bytes.toString('latin1');
      const border = received.indexOf('\r\n\r\n');
      if (border < 0) return;
      const [first, ...lines] = received.slice(0, border).split('\r\n');
      const headers = Object.fromEntries(lines.map((line) => [line.split(':')[0].toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
      if (received.length < border + 4 + Number(headers['content-length'] ?? 0)) return;
      socket.off('data', read);
      const [method, path] = first.split(' ');
      requests.push({ method, path, headers });
      const reply = script({ method, headers, count: requests.length });
      // A cut reply must not say `Connection: close`: Node's fetch would take the cut for a clean end.
      socket.write(reply.whole ? reply.head.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n') : reply.head);
      if (reply.body?.length) socket.write(Buffer.concat([Buffer.from(`${reply.body.length.toString(16)}\r\n`), reply.body, Buffer.from('\r\n')]));
      socket.end(reply.whole ? '0\r\n\r\n' : '');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await run(`http://127.0.0.1:${server.address().port}/v1`, requests);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

const client = (baseURL, options) =>
  new OpenAI({ baseURL, apiKey: 'sk-test', maxRetries: 0, fetch: resumingFetch({ backoff: 0, ...options }) });

async function ask(api) {
  const words = [];
  for await (const part of await api.chat.completions.create({ model: 'm', stream: true, messages: [] })) {
    words.push(part.choices[0].delta.content);
  }
  return words;
}

for (const [name, heartbeat] of [['', Buffer.alloc(0)], [' with heartbeats', HEARTBEAT]]) {
  test(`a cut at any byte is healed${name}`, async () => {
    const length = ANSWER.reduce((sum, bytes) => sum + heartbeat.length + bytes.length, 0);
    let cutAt = 0;
    await serve((request) => gateway(cutAt, { heartbeat })(request), async (url, requests) => {
      for (; cutAt <= length; cutAt++) {
        requests.length = 0;
        assert.deepEqual(await ask(client(url)), WORDS, `cut after ${cutAt} bytes`);
        assert.equal(requests.length, cutAt === length ? 1 : 2, `cut after ${cutAt} bytes`);
      }
    });
  });
}

test('a stream cut again and again is healed while it makes progress', async () => {
  const longest = Math.max(...ANSWER.map((bytes) => bytes.length));
  await serve(gateway(longest, { cuts: 100 }), async (url, requests) => {
    assert.deepEqual(await ask(client(url, { tries: 1 })), WORDS);
    assert.ok(requests.length >= 3);
  });
});

test("the reconnect is a GET of the stream's address with the same key and the last whole id", async () => {
  await serve(gateway(ANSWER[0].length + ANSWER[1].length + 9), async (url, requests) => {
    await ask(client(url));
    const [first, second] = requests;
    assert.deepEqual([first.method, first.path, second.method, second.path], ['POST', '/v1/chat/completions', 'GET', PATH]);
    assert.equal(first.headers.authorization, 'Bearer sk-test');
    assert.equal(second.headers.authorization, 'Bearer sk-test');
    assert.equal(second.headers['last-event-id'], `${STREAM}.2`);
    assert.equal(second.headers.accept, 'text/event-stream');
    assert.equal(second.headers['content-type'], undefined);
  });
});

test('a clean end without [DONE] asks once more, and 204 is the end', async () => {
  const body = Buffer.concat(ANSWER.slice(0, -1));
  const script = ({ method }) => (method === 'POST' ? { head: head(), body, whole: true } : refusal('204 No Content'));
  await serve(script, async (url, requests) => {
    assert.deepEqual(await ask(client(url)), WORDS);
    assert.deepEqual(requests.map((r) => r.method), ['POST', 'GET']);
  });
});

test('an error event is the end', async () => {
  const error = frame(2, '{"error":{"message":"cut","type":"server_error","param":null,"code":"upstream_cut"}}');
  await serve(gateway(Infinity, { answer: [ANSWER[0], error] }), async (url, requests) => {
    await assert.rejects(ask(client(url)), OpenAI.APIError);
    assert.equal(requests.length, 1);
  });
});

for (const status of ['429 Too Many Requests', '502 Bad Gateway', '503 Service Unavailable']) {
  test(`a passing refusal is tried again: ${status}`, async () => {
    await serve((request) => (request.count === 2 ? refusal(status) : gateway(300)(request)), async (url, requests) => {
      assert.deepEqual(await ask(client(url)), WORDS);
      assert.equal(requests.length, 3);
    });
  });
}

for (const status of ['400 Bad Request', '401 Unauthorized', '404 Not Found', '409 Conflict', '410 Gone']) {
  test(`a lasting refusal throws what cut the stream: ${status}`, async () => {
    await serve((request) => (request.method === 'GET' ? refusal(status) : gateway(300)(request)), async (url, requests) => {
      await assert.rejects(ask(client(url)), /terminated/);
      assert.equal(requests.length, 2);
    });
  });
}

test('tries are bounded', async () => {
  const script = (request) => (request.method === 'GET' ? refusal('503 Service Unavailable') : gateway(300)(request));
  await serve(script, async (url, requests) => {
    await assert.rejects(ask(client(url, { tries: 3 })), /terminated/);
    assert.equal(requests.length, 1 + 3);
  });
});

for (const extra of ['', `Content-Location: https://elsewhere.example${PATH}\r\n`, 'Content-Location: /v1/files/x\r\n']) {
  test(`a reply without a stream's address is left alone: ${extra.trim() || 'no header'}`, async () => {
    await serve(() => ({ head: head(extra), body: Buffer.concat(ANSWER).subarray(0, 300) }), async (url, requests) => {
      await assert.rejects(ask(client(url)), /terminated/);
      assert.equal(requests.length, 1);
    });
  });
}

test('a reader that leaves during a pause ends it', { timeout: 10_000 }, async () => {
  const script = (request) => (request.method === 'GET' ? refusal('503 Service Unavailable') : gateway(300)(request));
  await serve(script, async (url, requests) => {
    const response = await resumingFetch({ backoff: 3_600_000 })(`${url}/x`, { method: 'POST' });
    const reader = response.body.getReader();
    await reader.read();
    const pending = reader.read();
    await reader.cancel();
    assert.deepEqual(await pending, { value: undefined, done: true });
    assert.equal(requests.length, 1);
  });
});

test("the caller's signal stops the reconnecting", { timeout: 10_000 }, async () => {
  await serve(gateway(300), async (url, requests) => {
    const caller = new AbortController();
    const response = await resumingFetch({ backoff: 3_600_000 })(`${url}/x`, { method: 'POST', signal: caller.signal });
    const reader = response.body.getReader();
    await reader.read();
    const pending = reader.read();
    caller.abort();
    await assert.rejects(pending, { name: 'AbortError' });
    assert.equal(requests.length, 1);
  });
});
