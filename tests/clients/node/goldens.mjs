// The golden transcripts, and the providers in `golden.py` that answer with them.
import { readFileSync, readdirSync } from 'node:fs';
import assert from 'node:assert/strict';

const { GOLDEN_DIR, CLAUDE_PORT, GPT_PORT } = process.env;
const broken = ['cut', 'error_midstream', 'error_openrouter', 'done_without_finish'];

// The names of all whole answers of an API.
export const transcripts = (dialect, ending = '.sse') => readdirSync(`${GOLDEN_DIR}/${dialect}`)
  .filter((file) => file.endsWith(ending) && !file.includes('.to_'))
  .map((file) => file.slice(0, -ending.length))
  .filter((name) => !broken.includes(name));

export const transcript = (dialect, name, ending) => readFileSync(`${GOLDEN_DIR}/${dialect}/${name}${ending}`, 'utf8');

// A `fetch` whose every answer is this stream.
export const replaying = (body) => async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } });

// What `anthropic` or `openai` was asked last, and the models whose held answers were left.
const seen = async (upstream) => (await fetch(`http://127.0.0.1:${upstream === 'anthropic' ? CLAUDE_PORT : GPT_PORT}/_seen`)).json();
export const calls = async (upstream) => (await seen(upstream)).bodies.length;
export const lastBody = async (upstream) => (await seen(upstream)).bodies.at(-1);
export async function waitUntilLeft(upstream, model) {
  for (const end = Date.now() + 30_000; !(await seen(upstream)).left.includes(model);) {
    assert.ok(Date.now() < end, `waited for ${model} to be left`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
