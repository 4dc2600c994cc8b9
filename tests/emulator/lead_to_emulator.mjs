// Loaded before fal's example: leads fal's JavaScript client to the emulator, and changes nothing else.
import { fal } from "@fal-ai/client";

const emulator = process.env.EMULATOR_URL;

fal.config({
  requestMiddleware: async (request) => ({
    ...request,
    url: request.url.replace("https://queue.fal.run", emulator),
  }),
});
