// Runs the server audits of GraphQL over HTTP against a server: node audit.mjs URL
// Every MUST and SHOULD must pass; a MAY that does not is told.
import { serverAudits } from "graphql-http";

const url = new URL("/graphql", process.argv[2]).href;
let passed = 0;
let failed = 0;
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const result = await audit.fn();
  if (result.status === "ok") {
    passed += 1;
    continue;
  }
  const body = result.response?.bodyUsed === false ? await result.response.text() : "";
  console.log(`${result.status} ${audit.id} ${audit.name}: ${result.reason} ${body.slice(0, 200)}`);
  if (!audit.name.startsWith("MAY")) failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 50 ? 0 : 1);
