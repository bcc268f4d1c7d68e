// The official Node client's responses, in front of a provider of chat completions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { CLIENT_KEY, calledOnce, gatewayUrl } from './support.mjs';

const client = new OpenAI({ baseURL: `${gatewayUrl}/v1`, apiKey: CLIENT_KEY, maxRetries: 0 });
const ask = (fields) => client.responses.create({ model: 'fake', input: 'hi', ...fields });
const listOf = async (events) => {
  const seen = [];
  for await (const event of events) seen.push(event);
  return seen;
};

test('a response is the answer of the provider, and can be retrieved', () => calledOnce(async () => {
  const response = await ask({ metadata: { a: 'b' } });
  assert.equal(response.output_text, process.env.UPSTREAM_TEXT);
  assert.deepEqual(response.metadata, { a: 'b' });
  assert.equal(response.usage.output_tokens, 20);
  assert.deepEqual(await client.responses.retrieve(response.id), response);
}));

test('the streaming helper accumulates it', () => calledOnce(async () => {
  let text = '';
  const stream = client.responses.stream({ model: 'fake', input: 'hi' }).on('response.output_text.delta', ({ delta }) => { text += delta; });
  const response = await stream.finalResponse();
  assert.equal(text, process.env.UPSTREAM_TEXT);
  assert.equal(response.output[0].content[0].text, text);
  assert.equal(response.status, 'completed');
}));

test('a response in the background is followed after any event', () => calledOnce(async () => {
  const queued = await ask({ background: true });
  assert.equal(queued.status, 'queued');
  const whole = await listOf(await client.responses.retrieve(queued.id, { stream: true }));
  assert.deepEqual(whole.map(({ sequence_number }) => sequence_number), whole.map((_, index) => index));
  const rest = await listOf(await client.responses.retrieve(queued.id, { stream: true, starting_after: 5 }));
  assert.deepEqual(rest, whole.slice(6));
  const response = await client.responses.retrieve(queued.id);
  assert.equal(response.output_text, process.env.UPSTREAM_TEXT);
}));

test('a response is cancelled, and deleted', async () => {
  const { id } = await ask({ model: 'fake-2000-20', background: true });
  assert.equal((await client.responses.cancel(id)).status, 'cancelled');
  await client.responses.delete(id);
  await assert.rejects(client.responses.retrieve(id), OpenAI.NotFoundError);
});

test('a conversation goes on by previous_response_id', async () => {
  const first = await ask({});
  const second = await ask({ input: 'and then?', previous_response_id: first.id });
  const items = await listOf(client.responses.inputItems.list(second.id, { order: 'asc', limit: 1 }));
  assert.deepEqual(items.map(({ role }) => role), ['user', 'assistant', 'user']);
  await assert.rejects(ask({ previous_response_id: 'resp_0000000000000' }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, 'previous_response_not_found');
    return true;
  });
});

for (const [model, error] of [['fake-error-400', OpenAI.BadRequestError], ['fake-error-429', OpenAI.RateLimitError], ['no-such-model', OpenAI.NotFoundError]]) {
  test(`the provider's errors keep their class: ${model}`, async () => {
    await assert.rejects(ask({ model, stream: true }), error);
    await assert.rejects(ask({ model }), error);
  });
}

test('an answer that breaks off is a response that failed', async () => {
  const events = await listOf(await ask({ model: 'fake-cut-5', stream: true }));
  const { type, response } = events.at(-1);
  assert.equal(type, 'response.failed');
  assert.deepEqual((await client.responses.retrieve(response.id)).output, response.output);
});
