// An OpenAI-compatible API over node-llama-cpp's prebuilt CPU library, on loopback only: chat completions,
// completions and models. Tokens leave one by one; a client that hangs up stops its generation.
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { ENGINE, MODEL, PORT = '24080', SLOTS = '4', CONTEXT = '2048', THREADS = '1', MODEL_NAME = 'smollm2' } = process.env;
const { getLlama } = await import(pathToFileURL(path.join(ENGINE, 'node_modules/node-llama-cpp/dist/index.js')).href);
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, maxThreads: +THREADS, logLevel: 'error' });
const model = await llama.loadModel({ modelPath: MODEL });
const context = await model.createContext({ sequences: +SLOTS, contextSize: +CONTEXT, threads: +THREADS });

class BadRequest extends Error {}

const waiting = [];
const stats = { served: 0, aborted: 0 };

const acquireSlot = () => {
  if (context.sequencesLeft > 0 && !waiting.length) return Promise.resolve();
  return new Promise((go) => waiting.push(go));
};
const releaseSlot = () => waiting.shift()?.();

const sendJson = (res, status, value) => {
  const body = JSON.stringify(value);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  res.end(body);
};
const sendError = (res, status, message, type = 'invalid_request_error') =>
  sendJson(res, status, { error: { message, type, param: null, code: null } });

const textOf = (content) => (typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join(''));

// ChatML. The messages' own text is tokenized without special tokens, so it cannot forge a turn.
function chatTokens(messages) {
  const special = (text) => model.tokenize(text, true);
  const plain = (text) => model.tokenize(text, false);
  const system = messages.some((m) => m.role === 'system') ? [] : [{ role: 'system', content: 'You are a helpful assistant.' }];
  const turns = [...system, ...messages].flatMap((m) => [
    ...special(`<|im_start|>${m.role}\n`), ...plain(textOf(m.content)), ...special('<|im_end|>\n'),
  ]);
  return [...turns, ...special('<|im_start|>assistant\n')];
}

// What differs between the two generating paths: the prompt, and the shape of a choice.
const routes = {
  '/v1/chat/completions': {
    id: 'chatcmpl-', object: 'chat.completion', chunk: 'chat.completion.chunk',
    tokens(body) {
      if (!Array.isArray(body.messages) || !body.messages.length) throw new BadRequest('messages is required');
      return chatTokens(body.messages);
    },
    opening: { delta: { role: 'assistant', content: '' } },
    piece: (text) => ({ delta: text === '' ? {} : { content: text } }),
    whole: (text) => ({ message: { role: 'assistant', content: text } }),
  },
  '/v1/completions': {
    id: 'cmpl-', object: 'text_completion', chunk: 'text_completion',
    tokens(body) {
      if (typeof body.prompt !== 'string' || !body.prompt) throw new BadRequest('prompt must be a string that is not empty');
      return model.tokenize(body.prompt, false);
    },
    opening: null,
    piece: (text) => ({ text }),
    whole: (text) => ({ text }),
  },
};

async function readJson(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new BadRequest('the body is not JSON');
  }
}

// Yields { text, finish } pieces; text never ends inside a character or after a stop string.
async function* generate(sequence, prompt, max, body) {
  const stops = body.stop ? [].concat(body.stop) : [];
  const tokens = [];
  let sent = 0;
  for await (const token of sequence.evaluate(prompt, { temperature: body.temperature ?? 0, topP: body.top_p, seed: body.seed })) {
    if (model.isEogToken(token)) return yield { text: '', tokens: tokens.length, finish: 'stop' };
    tokens.push(token);
    const text = model.detokenize(tokens);
    const stop = stops.map((s) => text.indexOf(s)).filter((at) => at >= 0).sort((a, b) => a - b)[0];
    const end = stop ?? text.length;
    const full = stop !== undefined || tokens.length >= max;
    // A character split over tokens waits for its rest.
    if (full || !text.endsWith('\uFFFD')) {
      const piece = text.slice(sent, end);
      sent = Math.max(sent, end);
      if (piece || full) yield { text: piece, tokens: tokens.length, finish: stop !== undefined ? 'stop' : full ? 'length' : null };
    }
    if (full) return;
  }
}

async function complete(route, req, res) {
  const body = await readJson(req);
  const prompt = route.tokens(body);
  const max = body.max_completion_tokens ?? body.max_tokens ?? 128;
  if (!Number.isInteger(max) || max < 1 || prompt.length + max > +CONTEXT) {
    throw new BadRequest(`prompt (${prompt.length} tokens) and max_tokens (${max}) must fit into ${CONTEXT} tokens`);
  }
  let gone = false;
  res.on('close', () => { gone = !res.writableFinished; });
  await acquireSlot();
  if (gone) { stats.aborted++; return releaseSlot(); }
  const sequence = context.getSequence();
  try {
    await answer(route, body, res, { sequence, prompt, max, isGone: () => gone });
    if (gone) stats.aborted++; else stats.served++;
  } finally {
    await sequence.dispose();
    releaseSlot();
  }
}

async function answer(route, body, res, { sequence, prompt, max, isGone }) {
  const head = { id: route.id + Math.random().toString(36).slice(2), created: Math.floor(Date.now() / 1000), model: body.model ?? MODEL_NAME };
  const event = (data) => res.write(`data: ${typeof data === 'string' ? data : JSON.stringify({ ...head, object: route.chunk, ...data })}\n\n`);
  const choice = (fields, finish = null) => ({ choices: [{ index: 0, ...fields, finish_reason: finish }] });
  if (body.stream) {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    if (route.opening) event(choice(route.opening));
  }
  let text = '';
  let last = { tokens: 0, finish: 'length' };
  for await (const piece of generate(sequence, prompt, max, body)) {
    if (isGone()) return;
    text += piece.text;
    last = piece;
    if (body.stream && piece.text) event(choice(route.piece(piece.text)));
  }
  const usage = { prompt_tokens: prompt.length, completion_tokens: last.tokens, total_tokens: prompt.length + last.tokens };
  if (!body.stream) return sendJson(res, 200, { ...head, object: route.object, ...choice(route.whole(text), last.finish), usage });
  event(choice(route.piece(''), last.finish));
  if (body.stream_options?.include_usage) event({ choices: [], usage });
  event('[DONE]');
  res.end();
}

function failed(res, error) {
  if (error instanceof BadRequest) return sendError(res, 400, error.message);
  console.error(error);
  if (res.headersSent) return res.destroy();
  sendError(res, 500, String(error.message ?? error), 'server_error');
}

const server = http.createServer((req, res) => {
  const route = req.method === 'POST' && routes[req.url];
  if (route) return complete(route, req, res).catch((error) => failed(res, error));
  if (req.url === '/health') return sendJson(res, 200, { status: 'ok', free_slots: context.sequencesLeft, waiting: waiting.length, ...stats });
  if (req.url === '/v1/models') {
    return sendJson(res, 200, { object: 'list', data: [{ id: MODEL_NAME, object: 'model', created: 0, owned_by: 'local' }] });
  }
  sendError(res, 404, `no such route: ${req.method} ${req.url}`);
});
server.requestTimeout = 0;
server.keepAliveTimeout = 120_000;
server.listen(+PORT, '127.0.0.1', () => console.log('listening on', PORT));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
