// The official OpenAI client for Node, unmodified. Reads {baseURL, apiKey, model, act} from its argument, prints what it
// saw as one line of JSON; the Python test beside it judges.
import OpenAI from "openai";

const { baseURL, apiKey, model, act } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Say hello." }];
const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];

const acts = {
  async answer() {
    const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
    return { content: data.choices[0].message.content, provider: response.headers.get("x-turnpike-provider") };
  },

  async stream() {
    const stream = await client.chat.completions.create({
      model, messages, stream: true, stream_options: { include_usage: true },
    });
    let content = "";
    let last;
    for await (const chunk of stream) {
      content += chunk.choices[0]?.delta?.content ?? "";
      last = chunk;
    }
    return { content, usage: last.usage, turnpike: last.turnpike };
  },

  async tools() {
    const runner = client.chat.completions.stream({ model, messages, tools });
    const completion = await runner.finalChatCompletion();
    return { calls: completion.choices[0].message.tool_calls, finish: completion.choices[0].finish_reason };
  },

  async hit() {
    const caches = [];
    for (let n = 0; n < 2; n++) {
      const { response } = await client.chat.completions.create({ model, messages, temperature: 0 }).withResponse();
      caches.push(response.headers.get("x-turnpike-cache"));
    }
    return { caches };
  },

  async leave() {
    const stream = await client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break;
    }
    return { left: true };
  },

  async models() {
    const ids = [];
    for await (const row of client.models.list()) ids.push(row.id);
    return { ids };
  },
};

try {
  console.log(JSON.stringify(await acts[act]()));
} catch (error) {
  console.log(JSON.stringify({ error: { name: error.constructor.name, status: error.status, code: error.code, message: error.message } }));
}
