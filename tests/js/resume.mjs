// Follows live events with the graphql-ws client, disconnects at random and resumes by cursor: node resume.mjs URL TIMES SEED
// Standard input names what must come, one line an event (`key id`); every event must come once, in order within its key.
import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, times, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const wsUrl = url.replace(/^http/, "ws") + "/graphql/ws";
const expected = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const [key, id] = line.split(" ");
  if (!expected.has(key)) expected.set(key, []);
  expected.get(key).push(id);
}
const total = [...expected.values()].reduce((sum, ids) => sum + ids.length, 0);

// mulberry32: the same seed gives the same run.
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

let cursor = "start";
let disconnects = 0;
let count = 0;
const seen = new Map();
const query = "subscription($after: String) { events(after: $after) { cursor event { key eventId } } }";

function take({ cursor: next, event }) {
  if (!seen.has(event.key)) seen.set(event.key, []);
  seen.get(event.key).push(event.eventId);
  cursor = next;
  count += 1;
}

// One connection: takes a random number of events, then drops the socket in the middle of whatever comes.
function connection() {
  return new Promise((resolve, reject) => {
    let left = disconnects < times ? 1 + Math.floor(random() * ((1.6 * total) / times)) : Infinity;
    let socket;
    const client = createClient({
      url: wsUrl,
      retryAttempts: 0,
      webSocketImpl: class extends WebSocket {
        constructor(...args) {
          super(...args);
          socket = this;
        }
      },
    });
    const end = () => {
      left = 0;
      client.dispose();
      socket?.terminate();
      resolve();
    };
    client.subscribe(
      { query, variables: { after: cursor } },
      {
        next: (result) => {
          if (left <= 0) return;
          if (result.errors) return reject(new Error(JSON.stringify(result.errors)));
          take(result.data.events);
          left -= 1;
          if (left <= 0 || count >= total) end();
        },
        error: (error) => (left <= 0 ? resolve() : reject(error instanceof Error ? error : new Error(JSON.stringify(error)))),
        complete: () => resolve(),
      },
    );
  });
}

while (count < total) {
  await connection();
  disconnects += 1;
}
let wrong = 0;
for (const [key, ids] of expected) {
  if (JSON.stringify(seen.get(key)) !== JSON.stringify(ids)) {
    wrong += 1;
    if (wrong < 5) console.log(`key ${key}: expected ${ids}, seen ${seen.get(key)}`);
  }
}
console.log(`${count} events, ${disconnects} connections, seed ${seed}: ${expected.size - wrong} keys passed, ${wrong} failed`);
process.exit(wrong === 0 && count === total ? 0 : 1);
