// Requests to the service that this page came from.

const PLACE = new URL("v1", document.baseURI).href;
const KEY = "sparknomad-token";

export const token = {
  get: () => sessionStorage.getItem(KEY) || "",
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
};

export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || told.title || `The service answered ${status}.`);
    this.status = status;
    this.hint = told.hint || "";
  }
}

function headers(more = {}) {
  return { Authorization: `Bearer ${token.get()}`, ...more };
}

// A key of something that is sent once, however often it is asked for with it.
export function newKey() {
  return crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random()}`;
}

export async function ask(method, path, body, { signal, key = newKey() } = {}) {
  const options = { method, headers: headers(), signal };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  if (method === "POST" || method === "PUT") {
    options.headers["Idempotency-Key"] = key;
  }
  const answer = await fetch(PLACE + path, options);
  const text = await answer.text();
  const told = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Problem(answer.status, told || {});
  return told;
}

// Server-sent events, with our token: EventSource can't send one.
export async function* events(path, signal) {
  let after = "";
  while (!signal.aborted) {
    try {
      const more = after ? { "Last-Event-ID": after } : {};
      const answer = await fetch(PLACE + path, { headers: headers(more), signal });
      if (!answer.ok) throw new Problem(answer.status, await answer.json());
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value;
        const blocks = rest.split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(
            block.split("\n").filter((line) => line.includes(": ") && !line.startsWith(":"))
              .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
          );
          if (fields.id) after = fields.id;
          if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data) };
          if (fields.event === "end") return;
        }
      }
    } catch (error) {
      if (signal.aborted || error instanceof Problem) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
