// One walk through what Mem0's JavaScript client can do: `node scenario.mjs URL`, from a directory that has mem0ai.
// Prints what came of it. MEM0_TELEMETRY=false must be set before it starts.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(path.join(process.cwd(), "here.js")));
const { MemoryClient } = require("mem0ai");

const [url] = process.argv.slice(2);
const client = new MemoryClient({ apiKey: "any", host: url });
const told = {};

async function refused(call) {
  try {
    await call();
  } catch (error) {
    return { error: error.name, said: error.message };
  }
  throw new Error("it was not refused");
}

const alice = { filters: { user_id: "alice" } };
told.added = await client.add([{ role: "user", content: "My name is Alice." }], {
  userId: "alice",
  metadata: { snake_case: 1, camelCase: 2 },
});
told.talk = await client.add([{ role: "user", content: "I live in Lisbon." }], { userId: "alice", infer: false });
await client.add([{ role: "user", content: "Bob repairs bicycles." }], { userId: "bob", runId: "r/1" });
const first = told.added.results[0].id;
const second = told.talk.results[0].id;

told.got = await client.get(first);
told.all = await client.getAll(alice);
told.page = await client.getAll({ ...alice, page: 2, pageSize: 2 });
told.found = await client.search("name", { ...alice, topK: 1 });
told.history = await client.history(first);
told.users = await client.users();
told.missing = await refused(() => client.get("no/such id"));
told.everybody = await refused(() => client.deleteAll());
told.printed = await refused(() => client.deleteAll(alice));
told.updated = await client.update(first, { text: "Alice drinks tea.", expirationDate: "2999-12-31" });
told.kept = await client.update(first, { expirationDate: null });
told.batch = await client.batchUpdate([{ memoryId: second, text: "Lisbon." }]);
told.feedback = await client.feedback({ memoryId: first, feedback: "NEGATIVE" });
told.deleted = await client.delete(first);
told.gone = await refused(() => client.get(first));
told.batchDeleted = await client.batchDelete([second]);
told.rest = await client.getAll(alice);
told.allDeleted = await client.deleteAll({ userId: "alice" });
told.none = await client.getAll(alice);
told.userDeleted = await client.deleteUsers({ runId: "r/1" });
await client.add([{ role: "user", content: "Bob is back." }], { userId: "bob" });
told.reset = await client.deleteUsers();
told.nobodyLeft = await client.users();

console.log(JSON.stringify(told));
