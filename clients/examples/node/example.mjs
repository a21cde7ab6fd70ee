// SPDX-License-Identifier: Apache-2.0
// Holds a slot for a while. usage: example.mjs TARGET POOL [SECONDS]
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const files = ["leaseplane/v1/lease_service", "google/rpc/status", "google/rpc/error_details"];
const definition = loader.loadSync(files.map((name) => `${name}.proto`),
  { includeDirs: ["../../../proto"], keepCase: true, longs: String, enums: String });
const { LeaseService } = grpc.loadPackageDefinition(definition).leaseplane.v1;
const now = () => performance.now() / 1000;
const seconds = (d) => (d ? Number(d.seconds ?? 0) + (d.nanos ?? 0) / 1e9 : 0);

function reasonOf(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = bytes ? definition["google.rpc.Status"].deserialize(bytes).details : [];
  const info = details.find((d) => d.type_url.endsWith("/google.rpc.ErrorInfo"));
  return info && definition["google.rpc.ErrorInfo"].deserialize(info.value).reason;
}

// The one rule: after this instant the slot may be somebody else's.
const safeUntil = (sent, answer) =>
  sent + (seconds(answer.queued_duration) + seconds(answer.remaining_duration)) * 0.99 - 0.25;

async function hold(client, lease, safe, interval, end) {
  let lost;
  const sent = new Map();
  const stream = client.KeepAlive();
  stream.on("error", () => {}); // then nothing renews, and the safe deadline comes
  stream.on("data", ({ renewed, lost: gone }) => {
    if (renewed) safe = safeUntil(sent.get(renewed.sequence), renewed);
    if (gone) lost = gone.reason;
  });
  let number = 0;
  let renewal = now() + interval;
  for (; now() < end && !lost && now() < safe; await sleep(20)) { // a piece of the work
    if (now() < renewal) continue;
    sent.set(String(++number), now());
    renewal = now() + interval;
    stream.write({ renewals: [
      { name: lease.name, fencing_token: lease.fencing_token, sequence: number }] });
  }
  stream.cancel(); // also when the daemon does not answer
  return lost ?? (now() >= safe ? "SAFE_DEADLINE" : undefined);
}

const [target, pool, time = "3"] = process.argv.slice(2);
const client = new LeaseService(target, grpc.credentials.createInsecure());
const call = (method, request) => new Promise((resolve, reject) => client[method](request,
  { deadline: Date.now() + 10_000 }, (error, answer) => (error ? reject(error) : resolve(answer))));
const sent = now();
try {
  const got = await call("AcquireLease", { parent: `pools/${pool}`, ttl: { seconds: 15 },
    max_wait_duration: { seconds: 1 }, client_id: "node-example", request_id: randomUUID() });
  const safe = safeUntil(sent, got);
  const { name, fencing_token, slot_index } = got.lease; // fencing_token: for what the slot guards
  console.log(`held slot=${slot_index ?? 0} token=${fencing_token}`,
    `safe_for=${(safe - sent).toFixed(3)}`);
  const why = await hold(client, got.lease, safe, seconds(got.renew_interval), sent + Number(time));
  if (!why) await call("ReleaseLease", { name, fencing_token });
  console.log(why ? `lost ${why}` : "released");
  process.exitCode = why ? 1 : 0;
} catch (error) {
  console.log(`refused ${grpc.status[error.code]} ${reasonOf(error)}`);
  process.exitCode = error.code === grpc.status.RESOURCE_EXHAUSTED ? 75 : 1;
}
client.close();
