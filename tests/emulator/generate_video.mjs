// A video by the AI SDK and its fal provider. Every name leads to the emulator; nothing else is changed.
import { readFileSync } from "node:fs";
import { experimental_generateVideo as generateVideo } from "ai";
import { createFal } from "@ai-sdk/fal";
import { Agent, buildConnector, fetch } from "undici";

const { EMULATOR_PORT, CERTIFICATE, FAL_KEY, MODEL } = process.env;

const ca = readFileSync(CERTIFICATE);
const connect = buildConnector({ ca, checkServerIdentity: () => undefined });
const dispatcher = new Agent({
  connect: (options, callback) =>
    connect({ ...options, hostname: "127.0.0.1", port: EMULATOR_PORT }, callback),
});
const fetchHere = (url, options) => fetch(url, { ...options, dispatcher });

const fal = createFal({ apiKey: FAL_KEY, fetch: fetchHere });
const { video } = await generateVideo({
  model: fal.video(MODEL),
  prompt: "A red fox.",
  providerOptions: { fal: { pollIntervalMs: 50, promptOptimizer: false } },
  download: async ({ url }) => {
    const answer = await fetchHere(url);
    return { data: new Uint8Array(await answer.arrayBuffer()), mediaType: undefined };
  },
});
console.log(video.mediaType, video.uint8Array.length);
process.exit(0);
