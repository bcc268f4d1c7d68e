// Anthropic's official Node client, in front of providers of its own API and of OpenAI's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { resumingFetch } from '../../../../clients/node/everstream-resume.mjs';
import { calls, lastBody, replaying, transcript, transcripts, waitUntilLeft } from '../goldens.mjs';
import { CLIENT_KEY, gatewayUrl, messages, throughCuts } from '../support.mjs';

const client = (options = {}) => new Anthropic({ baseURL: gatewayUrl, apiKey: CLIENT_KEY, authToken: null, maxRetries: 0, ...options });
const ask = { max_tokens: 99, messages };
const listen = async (api, model) => {
  const events = [];
  const stream = api.messages.stream({ ...ask, model }).on('streamEvent', ({ type }) => events.push(type));
  const message = await stream.finalMessage();
  return { events, message: JSON.parse(JSON.stringify(message)) };
};
const stop = 'event: message_stop\ndata: {"type":"message_stop"}\n\n';
// What the client makes of a recorded stream. It would wait for an end that is left out.
const recorded = (dialect, name, ending) => {
  const body = transcript(dialect, name, ending);
  return listen(client({ fetch: replaying(body.includes('event: message_stop') ? body : body + stop) }), name);
};

for (const name of transcripts('anthropic')) {
  test(`an Anthropic upstream's message is the one that it sends: ${name}`, async () => {
    const { events, message } = await listen(client(), `anthropic/${name}`);
    const { message: expected } = await recorded('anthropic', name, '.sse');
    assert.deepEqual(message, expected);
    assert.equal(events.at(-1), 'message_stop');
  });
}

for (const name of transcripts('openai_chat')) {
  test(`an OpenAI upstream's message is its answer: ${name}`, async () => {
    const { events, message: { usage, id, model, ...message } } = await listen(client(), `openai/${name}`);
    const { message: expected } = await recorded('openai_chat', name, '.to_anthropic.sse');
    const { usage: counted, id: _id, model: _model, ...rest } = expected;
    assert.deepEqual(message, rest);
    assert.ok(id && model);
    // Where the provider counts nothing the gateway does.
    if (counted.output_tokens) assert.deepEqual(usage, counted);
    else assert.ok(usage.output_tokens > 0);
    assert.deepEqual([events[0], events.at(-1)], ['message_start', 'message_stop']);
  });
}

for (const name of transcripts('openai_chat', '.json')) {
  test(`a message of an OpenAI upstream that is not streamed: ${name}`, async () => {
    const { content, stop_reason } = await client().messages.create({ ...ask, model: `openai/${name}` });
    const whole = JSON.parse(transcript('openai_chat', name, '.to_anthropic.json'));
    assert.deepEqual({ content, stop_reason }, { content: whole.content, stop_reason: whole.stop_reason });
  });
}

for (const [upstream, called] of [['anthropic', 'get_weather'], ['openai', 'lookup']]) {
  test(`a tool is called and its result comes back: ${upstream}`, async () => {
    const runs = [];
    const runner = client().beta.messages.toolRunner({
      ...ask,
      model: `${upstream}/text_then_tool+text`,
      // Threads are kept by Anthropic's own servers.
      thread: false,
      tools: [{ name: called, description: 'Looks.', input_schema: { type: 'object' }, parse: (input) => input, run: async (input) => { runs.push(input); return 'sunny'; } }],
    });
    const { content, stop_reason } = await runner;
    assert.equal(runs.length, 1);
    assert.equal(stop_reason, 'end_turn');
    assert.equal(content[0].type, 'text');
    const sent = JSON.stringify((await lastBody(upstream)).messages.slice(-2));
    assert.ok(sent.includes('sunny'));
    assert.equal(sent.match(/toolu_01T1x1fJ34qAmk2tNTrN7Up6|call_1/g).length, 2, sent);
  });
}

for (const name of ['thinking', 'redacted_thinking']) {
  test(`thinking goes back with its signature: ${name}`, async () => {
    const model = `anthropic/${name}+text`;
    const thinking = { type: 'enabled', budget_tokens: 1024 };
    const { content } = await client().messages.stream({ ...ask, max_tokens: 2048, model, thinking }).finalMessage();
    const results = content.filter(({ type }) => type === 'tool_use').map(({ id }) => ({ type: 'tool_result', tool_use_id: id, content: 'yes' }));
    const next = results.length ? results : 'and then?';
    await client().messages.create({ ...ask, max_tokens: 2048, model, thinking, messages: [...messages, { role: 'assistant', content }, { role: 'user', content: next }] });
    assert.deepEqual((await lastBody('anthropic')).messages[1].content, content);
    assert.match(JSON.stringify(content), /"(signature|data)":"[^"]{6}/);
  });
}

test('tokens are counted', async () => {
  assert.ok((await client().messages.countTokens({ model: 'openai/text', messages })).input_tokens > 0);
});

for (const [model, error] of [
  ['status-400', Anthropic.BadRequestError],
  ['status-403', Anthropic.PermissionDeniedError],
  ['no_such', Anthropic.NotFoundError],
  ['status-429', Anthropic.RateLimitError],
  ['status-500', Anthropic.InternalServerError],
]) {
  for (const upstream of ['anthropic', 'openai']) {
    test(`an error has its class: ${upstream}/${model}`, async () => {
      for (const stream of [false, true]) {
        await assert.rejects(client().messages.create({ ...ask, model: `${upstream}/${model}`, stream }), (raised) => {
          assert.ok(raised instanceof error, `${raised.constructor.name}: ${raised.message}`);
          assert.equal(raised.error.type, 'error');
          if (raised.status === 429) assert.equal(raised.headers.get('retry-after'), '1');
          return true;
        });
      }
    });
  }
}

test('a wrong key is an authentication error', async () => {
  await assert.rejects(client({ apiKey: 'sk-wrong' }).messages.create({ ...ask, model: 'm' }), Anthropic.AuthenticationError);
});

for (const model of ['anthropic/cut', 'openai/cut', 'anthropic/error_midstream', 'openai/error_midstream']) {
  test(`a broken answer is an error: ${model}`, async () => {
    await assert.rejects(listen(client(), model), Anthropic.AnthropicError);
  });
}

for (const upstream of ['anthropic', 'openai']) {
  test(`who aborts ends the answer: ${upstream}`, async () => {
    const model = `${upstream}/text-held`;
    const stream = client().messages.stream({ ...ask, model });
    stream.on('text', () => stream.abort());
    await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
    await waitUntilLeft(upstream, 'text-held');
  });

  test(`the resuming fetch heals cuts: ${upstream}`, async () => {
    const { message: expected } = await listen(client(), `${upstream}/text_then_tool`);
    const before = await calls(upstream);
    await throughCuts([700, 800, 900], async (url, connections) => {
      const api = client({ baseURL: url, fetch: resumingFetch({ backoff: 10 }) });
      assert.deepEqual((await listen(api, `${upstream}/text_then_tool`)).message, expected);
      // One for each cut, and none to learn that it is over.
      assert.equal(connections(), 4);
    });
    assert.equal(await calls(upstream), before + 1);
  });
}
