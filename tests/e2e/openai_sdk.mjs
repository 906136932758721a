// Runs requests through OpenAI's SDK for Node and prints what came out, as the Python runner beside it does.
//
// Input, on standard input: {"package": the folder that has the SDK, "baseURL", "scenes": {name: {kind, key, body}}}.
// Output: {name: an answer, or a list of chunks, or {"error": class, "status", "code", "param", "type"}}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const input = JSON.parse(readFileSync(0, "utf8"));
const { OpenAI, APIError } = createRequire(input.package)("openai");

const kinds = {
  whole: (client, body) => client.chat.completions.create(body),
  stream: async (client, body) => {
    const chunks = [];
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) chunks.push(chunk);
    return chunks;
  },
  accumulate: (client, body) => client.chat.completions.stream(body).finalChatCompletion(),
  list: async (client) => {
    const models = [];
    for await (const model of client.models.list()) models.push(model);
    return models;
  },
  retrieve: (client, body) => client.models.retrieve(body.model),
};

async function run({ kind, key, body }) {
  const client = new OpenAI({ baseURL: input.baseURL, apiKey: key, maxRetries: 0, timeout: 20_000 });
  try {
    return await kinds[kind](client, body);
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, param, type } = error;
    return { error: error.constructor.name, status, code, param, type };
  }
}

const names = Object.keys(input.scenes);
const outcomes = await Promise.all(names.map((name) => run(input.scenes[name])));
console.log(JSON.stringify(Object.fromEntries(names.map((name, index) => [name, outcomes[index]]))));
