// A video by the AI SDK and its fal provider, which are led to the emulator and changed in nothing else.
import { experimental_generateVideo as generateVideo } from "ai";
import { createFal } from "@ai-sdk/fal";

const { EMULATOR_URL, PUBLIC_URL, FAL_KEY, MODEL } = process.env;
const fetchAnything = globalThis.fetch;

globalThis.fetch = (url, options) => {
  const asked = String(url instanceof Request ? url.url : url);
  if (!asked.startsWith(PUBLIC_URL)) throw new Error(`It asked for ${asked}`);
  return fetchAnything(asked.replace(PUBLIC_URL, EMULATOR_URL), options);
};

const fal = createFal({ apiKey: FAL_KEY });
const { video } = await generateVideo({
  model: fal.video(MODEL),
  prompt: "A red fox.",
  providerOptions: { fal: { pollIntervalMs: 50, promptOptimizer: false } },
});
console.log(video.mediaType, video.uint8Array.length);
