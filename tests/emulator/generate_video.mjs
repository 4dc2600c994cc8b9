// A video by the AI SDK and its fal provider, which are led to the emulator and changed in nothing else.
import { experimental_generateVideo as generateVideo } from "ai";
import { createFal } from "@ai-sdk/fal";

const { EMULATOR_URL, PUBLIC_URL, FAL_KEY, MODEL } = process.env;
const QUEUE = "https://queue.fal.run/";

function here(url, base) {
  if (!url.startsWith(base)) throw new Error(`It asks for ${url}`);
  return url.replace(base, `${EMULATOR_URL}/`);
}

const fal = createFal({
  apiKey: FAL_KEY,
  fetch: (url, options) =>
    fetch(here(url, QUEUE), { ...options, headers: { ...options.headers, host: "queue.fal.run" } }),
});
const { video } = await generateVideo({
  model: fal.video(MODEL),
  prompt: "A red fox.",
  providerOptions: { fal: { pollIntervalMs: 50, promptOptimizer: false } },
  download: async ({ url }) => {
    const answer = await fetch(here(url.href, `${PUBLIC_URL}/`));
    return { data: new Uint8Array(await answer.arrayBuffer()), mediaType: undefined };
  },
});
console.log(video.mediaType, video.uint8Array.length);
