// OpenAI's SDK for Node against the gateway: a whole answer, then a streamed one.
import OpenAI from "openai";

const address = process.env.LLMGATEWAY_REST_ADDRESS ?? "127.0.0.1:8080";
const client = new OpenAI({ baseURL: `http://${address}/v1`, apiKey: process.env.LLMGATEWAY_API_KEY });
const question = { model: "fake/echo", messages: [{ role: "user", content: "Hello from Node" }] };

const answer = await client.chat.completions.create(question);
console.log(answer.choices[0].message.content);

const stream = await client.chat.completions.create({
  ...question,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
  if (chunk.usage) console.log(` (${chunk.usage.total_tokens} tokens)`);
}
