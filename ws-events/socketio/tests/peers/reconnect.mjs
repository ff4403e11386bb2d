// Does socket.io-client connect again after its server was killed?
//
// node reconnect.mjs URL TRANSPORTS: TRANSPORTS is a JSON list, or "null" for the default. Prints
// "connected" when it uses its last transport and has an answer, and after the server is back, what
// happened as JSON.
import { io } from "socket.io-client";

const transports = JSON.parse(process.argv[3]);
const socket = io(process.argv[2], {
  path: "/engine.io/",
  reconnectionDelay: 50,
  reconnectionDelayMax: 200,
  ...(transports && { transports }),
});
const report = { answers: [], reasons: [], ids: new Set() };

const ask = async () => {
  report.ids.add(socket.id);
  report.answers.push(await socket.emitWithAck("double", 21));
  if (report.answers.length === 1) {
    const engine = socket.io.engine;
    if (!transports && engine.transport.name !== "websocket") {
      await new Promise((resolve) => engine.once("upgrade", resolve));
    }
    console.log("connected");
    return;
  }
  console.log(JSON.stringify({ ...report, ids: report.ids.size }));
  process.exit(0);
};

socket.on("connect", ask);
socket.on("disconnect", (reason) => report.reasons.push(reason));
