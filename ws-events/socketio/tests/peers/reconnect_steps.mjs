// Does the official client connect again after its server was killed?
//
// Uses nothing of node, so that a page can run it, too: see reconnect.mjs and page.mjs.

/**
 * Calls `say("connected")` when the client uses its last transport and has an answer. Returns what has
 * happened when it has an answer of the server that is back. `transports`: `null` for the default.
 */
export async function run({ io, url, transports, say }) {
  const socket = io(url, {
    path: "/engine.io/",
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    ...(transports && { transports }),
  });
  const report = { answers: [], reasons: [], ids: new Set() };
  socket.on("disconnect", (reason) => report.reasons.push(reason));
  await new Promise((resolve) => {
    socket.on("connect", async () => {
      report.ids.add(socket.id);
      report.answers.push(await socket.emitWithAck("double", 21));
      if (report.answers.length === 2) return resolve();
      const engine = socket.io.engine;
      if (!transports && engine.transport.name !== "websocket") {
        await new Promise((resolve) => engine.once("upgrade", resolve));
      }
      say("connected");
    });
  });
  return { ...report, ids: report.ids.size };
}
