// OpenAI's official Node client, in front of providers of its own API and of Anthropic's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { resumingFetch } from '../../../../clients/node/everstream-resume.mjs';
import { calls, lastBody, replaying, transcript, transcripts, waitUntilLeft } from '../goldens.mjs';
import { CLIENT_KEY, gatewayUrl, messages, throughCuts } from '../support.mjs';

const client = (options = {}) => new OpenAI({ baseURL: `${gatewayUrl}/v1`, apiKey: CLIENT_KEY, maxRetries: 0, ...options });
const plain = (value) => JSON.parse(JSON.stringify(value));
// The completion that the client's streaming helper puts together.
const listen = async (api, model) => {
  const { created, ...completion } = plain(await api.chat.completions.stream({ model, messages, stream_options: { include_usage: true } }).finalChatCompletion());
  assert.ok(created > 0);
  return completion;
};
// What the helper refuses of a provider itself (Mistral's calls have no `type`), it refuses behind the gateway.
const outcome = (listening) => listening.catch((error) => ({ refused: error.message }));
const recorded = (dialect, name, ending) => listen(client({ fetch: replaying(transcript(dialect, name, ending)) }), name);

for (const [upstream, dialect, ending] of [['openai', 'openai_chat', '.sse'], ['anthropic', 'anthropic', '.to_openai_chat.sse']]) {
  for (const name of transcripts(dialect)) {
    test(`the streaming helper puts together what was said: ${upstream}/${name}`, async () => {
      const [{ usage, ...completion }, { usage: counted, ...expected }] = await Promise.all([listen(client(), `${upstream}/${name}`), recorded(dialect, name, ending)].map(outcome));
      assert.deepEqual(completion, expected);
      assert.equal('refused' in expected, name === 'mistral_tools');
      if (counted) assert.deepEqual(usage, counted);
    });
  }
}

for (const name of transcripts('anthropic', '.json')) {
  test(`a completion of an Anthropic upstream that is not streamed: ${name}`, async () => {
    const { choices, usage } = await client().chat.completions.create({ model: `anthropic/${name}`, messages });
    const whole = JSON.parse(transcript('anthropic', name, '.to_openai_chat.json'));
    assert.deepEqual(plain({ choices, usage }), { choices: whole.choices, usage: whole.usage });
  });
}

const City = z.object({ name: z.string(), inhabitants: z.number() });

for (const upstream of ['anthropic', 'openai']) {
  test(`parse gets its object, streamed or not: ${upstream}`, async () => {
    const ask = { model: `${upstream}/city`, messages, response_format: zodResponseFormat(City, 'city') };
    const whole = await client().chat.completions.parse(ask);
    const streamed = await client().chat.completions.stream(ask).finalChatCompletion();
    for (const { choices } of [whole, streamed]) assert.deepEqual(choices[0].message.parsed, { name: 'Bern', inhabitants: 134000 });
    const { output_config, response_format } = await lastBody(upstream);
    const { schema } = output_config?.format ?? response_format.json_schema;
    assert.deepEqual(Object.keys(schema.properties), ['name', 'inhabitants']);
  });

  test(`tools are run and their results come back: ${upstream}`, async () => {
    const runs = [];
    const tool = (name) => ({ type: 'function', function: { name, parameters: { type: 'object', properties: {} }, parse: JSON.parse, function: (input) => { runs.push(input); return 'sunny'; } } });
    const runner = client().chat.completions.runTools({ model: `${upstream}/text_then_tool+text`, messages, stream: true, tools: [tool('get_weather'), tool('lookup')] });
    assert.ok((await runner.finalContent()).length > 0);
    assert.equal(runs.length, 1);
    const sent = JSON.stringify((await lastBody(upstream)).messages);
    assert.ok(sent.includes('sunny'));
    assert.equal(sent.match(/toolu_01T1x1fJ34qAmk2tNTrN7Up6|call_1/g).length, 2, sent);
  });

  for (const [model, error] of [['status-400', OpenAI.BadRequestError], ['no_such', OpenAI.NotFoundError], ['status-429', OpenAI.RateLimitError], ['status-500', OpenAI.InternalServerError]]) {
    test(`an error has its class: ${upstream}/${model}`, async () => {
      for (const stream of [false, true]) {
        await assert.rejects(client().chat.completions.create({ model: `${upstream}/${model}`, messages, stream }), (raised) => {
          assert.ok(raised instanceof error, `${raised.constructor.name}: ${raised.message}`);
          if (raised.status === 429) assert.equal(raised.headers.get('retry-after'), '1');
          return true;
        });
      }
    });
  }

  for (const name of ['cut', 'error_midstream']) {
    test(`a broken answer is an error: ${upstream}/${name}`, async () => {
      await assert.rejects(listen(client(), `${upstream}/${name}`), OpenAI.OpenAIError);
    });
  }

  test(`who aborts ends the answer: ${upstream}`, async () => {
    const stream = client().chat.completions.stream({ model: `${upstream}/text-held+openai`, messages });
    stream.on('content', () => stream.abort());
    await assert.rejects(stream.finalChatCompletion(), OpenAI.APIUserAbortError);
    await waitUntilLeft(upstream, 'text-held+openai');
  });

  test(`the resuming fetch heals cuts: ${upstream}`, async () => {
    const expected = await listen(client(), `${upstream}/text_then_tool`);
    const before = await calls(upstream);
    await throughCuts([700, 800, 900], async (url, connections) => {
      const api = client({ baseURL: `${url}/v1`, fetch: resumingFetch({ backoff: 10 }) });
      assert.deepEqual(await listen(api, `${upstream}/text_then_tool`), expected);
      assert.equal(connections(), 4);
    });
    assert.equal(await calls(upstream), before + 1);
  });
}

test('reasoning and its signature go back to their maker', async () => {
  const model = 'anthropic/thinking+text';
  // The streaming helper keeps the last piece only of what it does not know, so this is not streamed.
  const whole = (await client().chat.completions.create({ model, messages })).choices[0].message;
  await client().chat.completions.create({ model, messages: [...messages, whole, { role: 'user', content: 'and then?' }] });
  const { content } = JSON.parse(transcript('anthropic', 'thinking', '.json'));
  assert.deepEqual((await lastBody('anthropic')).messages[1].content, content);
});
