// The official Node client against the running gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { resumingFetch } from '../../../clients/node/everstream-resume.mjs';
import { CLIENT_KEY, calledOnce, calls, gatewayUrl, messages, resetCalls, throughCuts, waitForCalls } from './support.mjs';

const client = (url = gatewayUrl, options = {}) => new OpenAI({ baseURL: `${url}/v1`, apiKey: CLIENT_KEY, maxRetries: 0, ...options });
const ask = (api, fields, options) => api.chat.completions.create({ model: 'fake', messages, ...fields }, options);
const textOf = async (stream) => {
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
  return text;
};
const wholeText = async (model) => (await ask(client(), { model })).choices[0].message.content;

test('a chat stream is the answer of the provider', () => calledOnce(async () => {
  assert.equal(await textOf(await ask(client(), { stream: true })), process.env.UPSTREAM_TEXT);
}));

test('a chat answer that is not streamed', () => calledOnce(async () => {
  const answer = await ask(client());
  assert.equal(answer.choices[0].message.content, process.env.UPSTREAM_TEXT);
  assert.equal(answer.usage.completion_tokens, 20);
}));

test('completions, embeddings and models', async () => {
  const api = client();
  const text = (await api.completions.create({ model: 'fake', prompt: 'hi' })).choices[0].text;
  let streamed = '';
  for await (const chunk of await api.completions.create({ model: 'fake', prompt: 'hi', stream: true })) streamed += chunk.choices[0]?.text ?? '';
  assert.equal(streamed, text);
  const { data } = await api.embeddings.create({ model: 'fake', input: ['one', 'two'] });
  assert.deepEqual(data.map((row) => row.index), [0, 1]);
  const models = [];
  for await (const model of api.models.list()) models.push(model.id);
  assert.ok(models.includes('fake'));
});

for (const [model, error] of [
  ['fake-error-400', OpenAI.BadRequestError],
  ['fake-error-429', OpenAI.RateLimitError],
  ['fake-error-500', OpenAI.InternalServerError],
  ['no-such-model', OpenAI.NotFoundError],
]) {
  test(`the provider's errors keep their class: ${model}`, async () => {
    await assert.rejects(ask(client(), { model, stream: true }), error);
    await assert.rejects(ask(client(), { model }), error);
  });
}

test('a wrong key is an authentication error', async () => {
  await assert.rejects(ask(client(gatewayUrl, { apiKey: 'sk-wrong' })), OpenAI.AuthenticationError);
});

for (const model of ['fake-midstream-error-5', 'fake-cut-5']) {
  test(`a failure after content is an error: ${model}`, () => calledOnce(async () => {
    const stream = await ask(client(), { model, stream: true });
    await assert.rejects(textOf(stream), OpenAI.APIError);
  }));
}

for (const stream of [false, true]) {
  test(`the SDK's own retry attaches, stream: ${stream}`, () => calledOnce(async () => {
    await throughCuts([0], async (url, connections) => {
      const { data, response } = await ask(client(url, { maxRetries: 2 }), { model: 'fake-slow-first-1500', stream }).withResponse();
      const text = stream ? await textOf(data) : data.choices[0].message.content;
      assert.equal(text, process.env.UPSTREAM_TEXT);
      assert.equal(response.headers.get('idempotent-replayed'), 'true');
      assert.equal(connections(), 2);
    }, () => waitForCalls(1));
  }));
}

test('an Idempotency-Key replays the same answer', () => calledOnce(async () => {
  const headers = { 'Idempotency-Key': 'node-order-17' };
  const first = await ask(client(), {}, { headers }).withResponse();
  const again = await ask(client(), {}, { headers }).withResponse();
  assert.equal(again.response.headers.get('everstream-stream-id'), first.response.headers.get('everstream-stream-id'));
  assert.equal(again.response.headers.get('idempotent-replayed'), 'true');
  assert.deepEqual(again.data.choices[0].message, first.data.choices[0].message);
  await assert.rejects(ask(client(), { temperature: 0.5 }, { headers }), OpenAI.UnprocessableEntityError);
}));

test('the resuming fetch heals cuts', async () => {
  const expected = await wholeText('fake-200-2');
  await resetCalls();
  await throughCuts([1500, 4000, 777, 9001], async (url, connections) => {
    const api = client(url, { fetch: resumingFetch({ backoff: 10 }) });
    assert.equal(await textOf(await ask(api, { model: 'fake-200-2', stream: true })), expected);
    assert.equal(connections(), 5);
  });
  assert.equal(await calls(), 1);
});
