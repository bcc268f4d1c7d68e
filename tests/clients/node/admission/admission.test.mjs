// What the official Node clients, as they come, and Vercel's make of budgets, limits and keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { APICallError, generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { gatewayUrl, messages } from '../support.mjs';

// By what they are for: each has a budget, or a limit, or is revoked, or may ask another model alone.
const keys = JSON.parse(process.env.KEYS);
const { UPSTREAM_TEXT } = process.env;

// Keeps the status of each answer, when it came, and until when it says to wait.
function noting() {
  const replies = [];
  const noted = async (...request) => {
    const reply = await fetch(...request);
    const at = performance.now();
    replies.push({ status: reply.status, at, until: at + 1000 * Number(reply.headers.get('retry-after') ?? 0) });
    return reply;
  };
  return { replies, statuses: () => replies.map(({ status }) => status), fetch: noted };
}

const openai = (apiKey, fetch) => new OpenAI({ baseURL: `${gatewayUrl}/v1`, apiKey, fetch });
const anthropic = (apiKey, fetch) => new Anthropic({ baseURL: gatewayUrl, apiKey, authToken: null, fetch });
const vercel = {
  openai: (apiKey, fetch) => createOpenAICompatible({ name: 'everstream', baseURL: `${gatewayUrl}/v1`, apiKey, fetch, includeUsage: true }),
  anthropic: (apiKey, fetch) => createAnthropic({ baseURL: `${gatewayUrl}/v1`, apiKey, fetch }),
};

const clients = {
  openai: {
    short: async (...key) => (await openai(...key).chat.completions.create({ model: 'fake/fake', messages })).choices[0].message.content,
    async long(...key) {
      const { choices: [{ finish_reason, message }], usage } = await openai(...key).chat.completions.stream({ model: 'openai/m', messages, stream_options: { include_usage: true } }).finalChatCompletion();
      return { reason: finish_reason, text: message.content, tokens: usage.completion_tokens };
    },
    reason: 'length',
    errors: { 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 429: OpenAI.RateLimitError },
    codeOf: ({ code }) => code,
    code: 'insufficient_quota',
  },
  responses: {
    short: async (...key) => (await openai(...key).responses.create({ model: 'fake/fake', input: 'hi' })).output_text,
    async long(...key) {
      const { status, incomplete_details, output_text, usage } = await openai(...key).responses.stream({ model: 'responses/m', input: 'hi' }).finalResponse();
      return { reason: `${status}: ${incomplete_details.reason}`, text: output_text, tokens: usage.output_tokens };
    },
    reason: 'incomplete: max_output_tokens',
    errors: { 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 429: OpenAI.RateLimitError },
    codeOf: ({ code }) => code,
    code: 'insufficient_quota',
  },
  anthropic: {
    short: async (...key) => (await anthropic(...key).messages.create({ model: 'fake/fake', max_tokens: 20, messages })).content[0].text,
    async long(...key) {
      const { stop_reason, content, usage } = await anthropic(...key).messages.stream({ model: 'anthropic/m', max_tokens: 3, messages }).finalMessage();
      return { reason: stop_reason, text: content[0].text, tokens: usage.output_tokens };
    },
    reason: 'max_tokens',
    errors: { 401: Anthropic.AuthenticationError, 403: Anthropic.PermissionDeniedError, 429: Anthropic.RateLimitError },
    codeOf: ({ error }) => error.error.type,
    code: 'billing_error',
  },
};

for (const [name, client] of Object.entries(clients)) {
  const refusal = (status) => (error) => {
    assert.ok(error instanceof client.errors[status], `${error.constructor.name}: ${error.message}`);
    assert.equal(error.status, status);
    return true;
  };

  test(`an answer that outruns its budget is cut short, and the next is refused once: ${name}`, async () => {
    const { statuses, fetch } = noting();
    const { reason, text, tokens } = await client.long(keys[`pays ${name}`], fetch);
    assert.equal(reason, client.reason);
    assert.match(text, /^a+$/);
    assert.ok(tokens >= 3);
    await assert.rejects(client.short(keys[`pays ${name}`], fetch), (error) => refusal(429)(error) && client.codeOf(error) === client.code);
    assert.deepEqual(statuses(), [200, 429]);
  });

  test(`who reached a limit waits as long as it is told and gets its answer: ${name}`, async () => {
    const { replies, statuses, fetch } = noting();
    while (!statuses().includes(429)) {
      assert.equal(await client.short(keys[`hurries ${name}`], fetch), UPSTREAM_TEXT);
      assert.ok(replies.length < 20);
    }
    const [refused, { status, at }] = replies.slice(-2);
    assert.equal(status, 200);
    // Timers may be early by a fraction of a millisecond.
    assert.ok(at >= refused.until - 5, `${refused.until - at} ms too early`);
  });

  test(`a key that is revoked is none, and one may ask the models in its scopes alone: ${name}`, async () => {
    const { statuses, fetch } = noting();
    await assert.rejects(client.short(keys.revoked, fetch), refusal(401));
    await assert.rejects(client.short(keys.narrow, fetch), refusal(403));
    assert.deepEqual(statuses(), [401, 403]);
  });
}

for (const [name, make] of Object.entries(vercel)) {
  test(`Vercel's hears of an answer that is cut short as of a length: ${name}`, async () => {
    const { statuses, fetch } = noting();
    const provider = make(keys[`pays vercel ${name}`], fetch);
    const stream = streamText({ model: provider(`${name}/m`), prompt: 'hi', maxOutputTokens: 3 });
    assert.match(await stream.text, /^a+$/);
    assert.equal(await stream.finishReason, 'length');
    assert.ok((await stream.usage).outputTokens >= 3);
    await assert.rejects(generateText({ model: provider('fake/fake'), prompt: 'hi', maxRetries: 0 }), (error) => APICallError.isInstance(error) && error.statusCode === 429);
    assert.deepEqual(statuses(), [200, 429]);
  });
}
