// A client in another language, made from the .proto files alone: generate, watch, cancel.
// Usage: node client.mjs ADDRESS TOKEN PROTO_ROOT. Prints one JSON object.
import { createHash } from "node:crypto";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, token, root] = process.argv.slice(2);
const definition = loader.loadSync("scumble/v1/generation_service.proto", {
  includeDirs: [root], keepCase: true, longs: Number, enums: String, oneofs: true,
});
const { GenerationService } = grpc.loadPackageDefinition(definition).scumble.v1;
const client = new GenerationService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${token}`);
const deadline = () => ({ deadline: Date.now() + 300_000 });  // a busy machine is slow, not broken

const call = (method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, metadata, deadline(), (error, reply) => (error ? reject(error) : resolve(reply))));

async function collect(stream, onMessage) {
  const messages = [];
  for await (const message of stream) {
    messages.push(message);
    await onMessage?.(message);
  }
  return messages;
}

const generation = (prompt, steps, count = 1) => ({
  parameters: { prompt, model: "tiny", num_inference_steps: steps, seed: 7, count },
  text_to_image: { extent: { width: 64, height: 48 } },
});

const watch = (job_id, onMessage) =>
  collect(client.WatchJob({ job_id }, metadata, deadline()), onMessage);

// Generate and fetch.
const { job } = await call("CreateJob", { request_id: "node-1", generation: generation("red bricks", 4) });
const events = (await watch(job.job_id)).map((message) => message.event);
const finished = (await call("GetJob", { job_id: job.job_id })).job;
const [result] = finished.results;
const parts = await collect(client.DownloadImage({ image_id: result.image_id, encoding: "IMAGE_ENCODING_RAW" }, metadata, deadline()));
const pixels = Buffer.concat(parts.slice(1).map((part) => part.chunk));

// Cancel while it runs: so long that it cannot end while this process waits for its turn on a busy machine.
const long = (await call("CreateJob", { request_id: "node-2", generation: generation("blue tiles", 900, 16) })).job;
let asked = false;
const ending = await watch(long.job_id, async ({ event }) => {
  if (event.progress && !asked) {
    asked = true;
    await call("CancelJob", { job_id: long.job_id });
  }
});

// A wrong token.
const wrong = new grpc.Metadata();
wrong.set("authorization", "Bearer no");
const refused = await new Promise((resolve) =>
  client.GetJob({ job_id: job.job_id }, wrong, deadline(), (error) => resolve(error)));

client.close();
console.log(JSON.stringify({
  states: events.filter((event) => event.state).map((event) => event.state),
  numbers: events.map((event) => event.number),
  progressed: events.some((event) => event.progress),
  header: parts[0].header,
  bytes: pixels.length,
  sha256: createHash("sha256").update(pixels).digest("hex"),
  cancelled: ending.at(-1).event.state,
  refused: grpc.status[refused.code],
}));
