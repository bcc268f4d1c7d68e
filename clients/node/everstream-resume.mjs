// Heals cut streams below the SDK: reconnects to the stream's own address and goes on after the last whole event.
//
//   import OpenAI from 'openai';
//   import { resumingFetch } from './everstream-resume.mjs';
//   const client = new OpenAI({ fetch: resumingFetch() });
//
// Call sites stay as they are. It touches only replies that carry `Content-Location: /v1/streams/{id}`.

const LONGEST_PAUSE = 8000;
// The last frame of a stream: OpenAI's chat completions and responses, Anthropic's messages.
const END = /^(data: (\[DONE\]|\{"error")|event: (error|message_stop|response\.(completed|incomplete|failed))$)/m;
const STREAM_PATH = /^\/v1\/streams\/[0-9a-z]+$/;
// One character for each byte: a position in the text is a position in the bytes.
const latin1 = new TextDecoder('latin1');

/**
 * A `fetch` around another one.
 *
 * @param {object} [options]
 * @param {typeof globalThis.fetch} [options.fetch]
 * @param {number} [options.tries] reconnects in a row that may bring nothing new before the error that cut the stream is thrown
 * @param {number} [options.backoff] ms, the longest first pause; pauses are random, and their bound doubles with every try, up to 8 s
 * @returns {typeof globalThis.fetch}
 */
export function resumingFetch({ fetch = globalThis.fetch, tries = 8, backoff = 250 } = {}) {
  return async (input, init = {}) => {
    const response = await fetch(input, init);
    const path = response.headers.get('content-location') ?? '';
    if (!isStream(response) || !STREAM_PATH.test(path)) return response;

    const headers = new Headers(init.headers ?? input.headers);
    for (const name of ['content-length', 'content-type', 'transfer-encoding']) headers.delete(name);
    headers.set('accept', 'text/event-stream');
    const left = new AbortController();
    const signal = AbortSignal.any([left.signal, init.signal ?? input.signal].filter(Boolean));
    const open = (lastId) => {
      if (lastId) headers.set('last-event-id', lastId);
      return fetch(new URL(path, input.url ?? input), { ...init, method: 'GET', body: undefined, headers, signal });
    };
    const { status, statusText, url } = response;
    const body = streamOf(wholeFrames(response, { open, signal, tries, backoff }), left);
    return Object.defineProperty(new Response(body, { status, statusText, headers: response.headers }), 'url', { value: url });
  };
}

async function* wholeFrames(response, { open, signal, tries, backoff }) {
  let failures = 0;
  let cut;
  let ended = false;
  let lastId;
  for (;;) {
    let partial = new Uint8Array();
    try {
      response ??= await open(lastId);
      if (isStream(response)) {
        for await (const chunk of chunksOf(response.body, signal)) {
          const { whole, rest } = splitAtLastBorder(partial, chunk);
          partial = rest;
          if (!whole.length) continue;
          ({ lastId = lastId, ended } = readEnd(whole));
          failures = 0;
          cut = undefined;
          yield whole;
        }
      } else {
        await response.body?.cancel();
        ended = response.status === 204;
        if (response.status >= 400 && response.status < 500 && response.status !== 429) failures = tries;
      }
      cut ??= new TypeError('the reply ended before its stream did');
    } catch (error) {
      cut ??= error;
    }
    if (ended) return;
    signal.throwIfAborted();
    if (failures >= tries) throw cut;
    await pause(Math.random() * Math.min(backoff * 2 ** failures++, LONGEST_PAUSE), signal);
    response = undefined;
  }
}

const isStream = (response) =>
  response.status === 200 && (response.headers.get('content-type') ?? '').startsWith('text/event-stream');

async function* chunksOf(body, signal) {
  const reader = body.getReader();
  const stop = () => reader.cancel().catch(() => {});
  signal.addEventListener('abort', stop);
  try {
    for (let next; !(next = await reader.read()).done;) yield next.value;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

// An unfinished frame waits for its rest, and comes again whole after a cut.
function splitAtLastBorder(partial, chunk) {
  const bytes = new Uint8Array(partial.length + chunk.length);
  bytes.set(partial);
  bytes.set(chunk, partial.length);
  const searched = Math.max(partial.length - 1, 0);
  const border = latin1.decode(bytes.subarray(searched)).lastIndexOf('\n\n');
  const end = border < 0 ? 0 : searched + border + 2;
  return { whole: bytes.subarray(0, end), rest: bytes.subarray(end) };
}

function readEnd(whole) {
  const text = latin1.decode(whole);
  const last = text.slice(0, -2).split('\n\n').at(-1);
  return {
    lastId: [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1],
    ended: END.test(last),
  };
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });

const streamOf = (chunks, left) =>
  new ReadableStream({
    async pull(controller) {
      const { value, done } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => left.abort(reason),
  }, { highWaterMark: 0 });
