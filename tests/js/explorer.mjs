// What a person does in an explorer, step by step, with every answer compared: node explorer.mjs URL EXPECTED_FOLDER
// Search → inference → attribution → contribution → account → rewards → claim → proof, the proof checked with OpenZeppelin's library.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const [url, folder] = [process.argv[2], process.argv[3]];
let steps = 0;

async function ask(query, variables = {}) {
  const response = await fetch(new URL("/graphql", url), {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/graphql-response+json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, `${query}: ${JSON.stringify(errors)}`);
  assert.equal(response.status, 200);
  steps += 1;
  return data;
}

// Walks a list to its end.
async function walk(query, variables, pick) {
  const nodes = [];
  let after = null;
  for (;;) {
    const list = pick(await ask(query, { ...variables, after }));
    nodes.push(...list.nodes);
    if (!list.pageInfo.hasNextPage) return nodes;
    after = list.pageInfo.endCursor;
  }
}

const csv = (name) => {
  const [header, ...lines] = readFileSync(join(folder, name), "utf8").trim().split(/\r?\n/);
  return lines.map((line) => Object.fromEntries(line.split(",").map((value, n) => [header.split(",")[n], value])));
};
const lower = (address) => address.toLowerCase();

// The epochs are those that an independent program computed.
const expected = JSON.parse(readFileSync(join(folder, "epochs.json"), "utf8"));
const { epochs } = await ask("{ epochs { totalCount nodes { number root fees inferences unattributed accounts cumulativeTotal status } } }");
assert.equal(epochs.totalCount, expected.length);
for (const [n, epoch] of epochs.nodes.entries()) {
  const of = expected[n];
  assert.deepEqual(epoch, {
    number: of.epoch, root: of.root, fees: of.fees, inferences: of.inferences_settled, unattributed: of.unattributed,
    accounts: of.accounts, cumulativeTotal: of.cumulative_total, status: "CLOSED",
  });
  const rewards = await walk(
    "query($n: Long!, $after: String) { epoch(number: $n) { rewards(first: 100, after: $after) { nodes { account { address } role amount } pageInfo { hasNextPage endCursor } } } }",
    { n: of.epoch }, (data) => data.epoch.rewards,
  );
  const rows = rewards.map((r) => `${lower(r.account.address)},${r.role.toLowerCase()},${r.amount}`).sort();
  assert.deepEqual(rows, csv(`rewards-${of.epoch}.csv`).map((r) => `${r.account},${r.role},${r.amount}`).sort());
}

// Search for a datanet, and go on to what its best contribution earned.
const { search } = await ask('{ search(text: "slatedb") { __typename ... on Datanet { datanetId name stats { contributions contributors earned attributedInferences } } } }');
const datanet = search.find((hit) => hit.__typename === "Datanet");
assert.equal(datanet.datanetId, "slatedb");
const { contributions } = await ask(
  'query($d: String) { contributions(first: 1, where: { datanetId: { eq: $d } }, orderBy: { field: EARNED, direction: DESC }) { totalCount nodes { contributionId earned contributor { address } review { verdict } datanet { datanetId } attributions(first: 3) { totalCount nodes { weight share inference { inferenceId } } } } } }',
  { d: datanet.datanetId },
);
const best = contributions.nodes[0];
assert.equal(contributions.totalCount, datanet.stats.contributions);
assert.ok(BigInt(best.earned) > 0n && best.attributions.totalCount > 0);

// An inference that it weighed in, with its attribution and rewards: the lines add up to the fee.
const inferenceId = best.attributions.nodes[0].inference.inferenceId;
const { inference } = await ask(
  `query($id: String!) { inference(inferenceId: $id) { fee finality requester { address } model { modelId owner { address } ancestors { modelId } }
     attribution { method entries(first: 1000) { totalCount nodes { contributionId weight share contribution { datanet { name } } } } }
     rewards(first: 1000) { totalCount nodes { role amount account { address } contribution { contributionId } model { modelId } epoch } }
     pathway(direction: DESCENDANTS) { depth inference { inferenceId } }
     event { raw batch { root blob { backend } } proof { leaf path batchRoot } } } }`,
  { id: inferenceId },
);
assert.equal(inference.finality, "SETTLED");
assert.equal(inference.rewards.nodes.reduce((sum, line) => sum + BigInt(line.amount), 0n), BigInt(inference.fee));
const shares = inference.attribution.entries.nodes.reduce((sum, entry) => sum + entry.share, 0);
assert.ok(Math.abs(shares - 1) < 1e-9);
assert.ok(inference.attribution.entries.nodes.some((entry) => entry.contributionId === best.contributionId));
assert.equal(inference.event.batch.root, inference.event.proof.batchRoot);

// The contributor: what it earned is what the expected file says, by its epochs and by its lines.
const address = best.contributor.address;
const last = expected.length;
const { account } = await ask(
  "query($a: Address!) { account(address: $a) { address earned earnedByRole { role amount } claim { epoch account cumulative proof root } } }",
  { a: address.toUpperCase().replace("0X", "0x") },
);
const cumulative = csv(`cumulative-${last}.csv`);
const own = cumulative.find((row) => row.account === lower(address));
assert.equal(account.address, address, "given with its checksum, taken in any case");
assert.equal(account.earned, own.cumulative);
assert.equal(account.earnedByRole.reduce((sum, of) => sum + BigInt(of.amount), 0n), BigInt(own.cumulative));
const lines = await walk(
  "query($a: Address!, $after: String) { account(address: $a) { rewards(first: 1000, after: $after) { nodes { amount epoch { number } lines(first: 1) { totalCount nodes { amount } } } pageInfo { hasNextPage endCursor } } } }",
  { a: address }, (data) => data.account.rewards,
);
assert.equal(lines.reduce((sum, reward) => sum + BigInt(reward.amount), 0n), BigInt(own.cumulative));

// The claim, checked with OpenZeppelin's library: against the epoch's root, and against a tree built from the expected file.
const tree = StandardMerkleTree.of(cumulative.map((row) => [row.account, row.cumulative]), ["address", "uint256"]);
assert.equal(tree.root, expected[last - 1].root);
const { claim } = account;
assert.deepEqual([claim.epoch, claim.root, claim.cumulative], [last, tree.root, own.cumulative]);
assert.ok(StandardMerkleTree.verify(claim.root, ["address", "uint256"], [claim.account, claim.cumulative], claim.proof));
assert.deepEqual(claim.proof, tree.getProof([own.account, own.cumulative]));

// All accounts by what they earned: the expected file in its order.
const accounts = await walk(
  "query($after: String) { accounts(first: 50, after: $after, orderBy: { field: EARNED, direction: DESC }) { nodes { address earned } pageInfo { hasNextPage endCursor } } }",
  {}, (data) => data.accounts,
);
const ordered = [...cumulative].sort((a, b) => Number(BigInt(b.cumulative) - BigInt(a.cumulative) > 0n) * 2 - 1 || a.account.localeCompare(b.account));
assert.deepEqual(accounts.map((a) => a.earned), ordered.map((row) => row.cumulative));
assert.deepEqual(accounts.map((a) => lower(a.address)).sort(), cumulative.map((row) => row.account).sort());

console.log(`${steps} passed, 0 failed`);
