// The Vercel AI SDK with its OpenAI-compatible and its Anthropic provider, each in front of both upstreams.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, generateObject, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { resumingFetch } from '../../../../clients/node/everstream-resume.mjs';
import { calls, lastBody, waitUntilLeft } from '../goldens.mjs';
import { CLIENT_KEY, gatewayUrl, throughCuts } from '../support.mjs';

const makers = {
  compatible: ({ url = gatewayUrl, fetch } = {}) =>
    createOpenAICompatible({ name: 'everstream', baseURL: `${url}/v1`, apiKey: CLIENT_KEY, fetch, includeUsage: true, supportsStructuredOutputs: true }),
  anthropic: ({ url = gatewayUrl, fetch } = {}) => createAnthropic({ baseURL: `${url}/v1`, apiKey: CLIENT_KEY, fetch }),
};
const text = 'Hello! 你好 "q"\n\\ 😀';
const reasoning = { anthropic: 'thinking', openai: 'deepseek_reasoning' };
const City = z.object({ name: z.string(), inhabitants: z.number() });
const bern = { name: 'Bern', inhabitants: 134000 };
const partsOf = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
};

for (const [maker, make] of Object.entries(makers)) {
  for (const upstream of ['anthropic', 'openai']) {
    const pair = `${maker} client, ${upstream} upstream`;
    const ask = (name, fields) => ({ model: make()(`${upstream}/${name}`), prompt: 'hi', maxRetries: 0, ...fields });

    test(`text, streamed or not: ${pair}`, async () => {
      const whole = await generateText(ask('text'));
      assert.equal(whole.finishReason, 'stop');
      assert.ok(whole.text.length > 4);
      const stream = streamText(ask('text'));
      assert.equal(await stream.text, text);
      for (const { inputTokens, outputTokens } of [whole.usage, await stream.usage]) assert.ok(inputTokens > 0 && outputTokens > 0);
    });

    test(`tools are run in one step and answered in the next: ${pair}`, async () => {
      const runs = [];
      const looks = tool({ inputSchema: z.object({}).loose(), execute: async (input) => { runs.push(input); return 'sunny'; } });
      const stream = streamText(ask('text_then_tool+text', { tools: { get_weather: looks, lookup: looks }, stopWhen: stepCountIs(3), onError: () => {} }));
      const steps = await stream.steps;
      assert.deepEqual(steps.map(({ finishReason }) => finishReason), ['tool-calls', 'stop']);
      assert.deepEqual(runs, [upstream === 'anthropic' ? { location: 'San Francisco, CA' } : { q: 1 }]);
      assert.equal(await stream.text, text);
      const sent = JSON.stringify((await lastBody(upstream)).messages);
      assert.ok(sent.includes('sunny'));
      assert.equal(sent.match(/toolu_01T1x1fJ34qAmk2tNTrN7Up6|call_1/g).length, 2, sent);
    });

    test(`several tools at once: ${pair}`, async () => {
      const looks = tool({ inputSchema: z.object({}).loose() });
      const { toolCalls, finishReason } = await streamText(ask('parallel_tools', { tools: { get_weather: looks, get_time: looks } }));
      assert.equal(await finishReason, 'tool-calls');
      const ids = (await toolCalls).map(({ toolCallId }) => toolCallId);
      assert.equal(new Set(ids).size, 2);
    });

    test(`structured output, streamed or not: ${pair}`, async () => {
      assert.deepEqual((await generateObject(ask('city', { schema: City }))).object, bern);
      assert.deepEqual((await generateText(ask('city', { output: Output.object({ schema: City }) }))).output, bern);
      const stream = streamText(ask('city', { output: Output.object({ schema: City }) }));
      assert.deepEqual((await partsOf(stream.partialOutputStream)).at(-1), bern);
      assert.match(JSON.stringify(await lastBody(upstream)), /"inhabitants"/);
    });

    test(`reasoning, streamed or not: ${pair}`, async () => {
      const whole = await generateText(ask(reasoning[upstream]));
      const stream = streamText(ask(reasoning[upstream]));
      for (const thought of [whole.reasoningText, await stream.reasoningText]) assert.ok(thought.length > 5, thought);
      assert.ok((await stream.text).length > 0);
    });

    test(`an error has its status: ${pair}`, async () => {
      for (const [name, status] of [['status-400', 400], ['no_such', 404], ['status-429', 429], ['status-500', 500]]) {
        const refused = (error) => {
          assert.ok(APICallError.isInstance(error), error);
          assert.equal(error.statusCode, status);
          assert.match(error.message, /Not now|no such model/i);
          return true;
        };
        await assert.rejects(generateText(ask(name)), refused);
        const parts = await partsOf(streamText(ask(name, { onError: () => {} })).fullStream);
        refused(parts.find(({ type }) => type === 'error').error);
      }
    });

    for (const name of ['cut', 'error_midstream']) {
      test(`a broken answer is an error: ${name}, ${pair}`, async () => {
        const parts = await partsOf(streamText(ask(name, { onError: () => {} })).fullStream);
        assert.ok(parts.some(({ type }) => type === 'error'), JSON.stringify(parts));
        assert.ok(!parts.some(({ type, finishReason }) => type === 'finish' && finishReason === 'stop'), JSON.stringify(parts));
      });
    }

    test(`who aborts ends the answer: ${pair}`, async () => {
      const name = `text-held+${maker}`;
      const left = new AbortController();
      const parts = [];
      for await (const part of streamText(ask(name, { abortSignal: left.signal })).fullStream) {
        parts.push(part.type);
        if (part.type === 'text-delta') left.abort();
      }
      assert.equal(parts.at(-1), 'abort');
      await waitUntilLeft(upstream, name);
    });

    test(`the resuming fetch heals cuts: ${pair}`, async () => {
      const before = await calls(upstream);
      await throughCuts([700, 800], async (url, connections) => {
        const model = make({ url, fetch: resumingFetch({ backoff: 10 }) })(`${upstream}/text`);
        assert.equal(await streamText({ model, prompt: 'hi', maxRetries: 0 }).text, text);
        assert.equal(connections(), 3);
      });
      assert.equal(await calls(upstream), before + 1);
    });
  }
}

test("thinking goes back with its signature by Anthropic's provider", async () => {
  const model = makers.anthropic()('anthropic/thinking+text');
  const providerOptions = { anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } } };
  const first = await streamText({ model, prompt: 'hi', maxRetries: 0, providerOptions });
  const messages = [{ role: 'user', content: 'hi' }, ...(await first.response).messages, { role: 'user', content: 'and then?' }];
  await generateText({ model, messages, maxRetries: 0, providerOptions });
  const [, { content }] = (await lastBody('anthropic')).messages;
  assert.deepEqual(content[0], { type: 'thinking', thinking: 'Let me solve this.', signature: 'EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds==' });
});
