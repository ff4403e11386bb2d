// Does socket.io-client get its session back, with all that it has missed and once?
//
// node recover.mjs URL TRANSPORTS COUNT [msgpack [MOST]]: TRANSPORTS is a JSON list. Gets numbers by the
// event "n", and loses each connection after MOST of them, five by default, until it has COUNT numbers.
// Prints as JSON what it got. `msgpack`: with that parser.
import { io } from "socket.io-client";

const [url, transports, count, encoding, most] = process.argv.slice(2);
const parser = encoding === "msgpack" ? (await import("socket.io-msgpack-parser")).default : undefined;
const socket = io(url, {
  path: "/engine.io/",
  reconnectionDelay: 20,
  reconnectionDelayMax: 50,
  transports: JSON.parse(transports),
  ...(parser && { parser }),
});
const report = { numbers: [], recovered: [], ids: new Set(), offsets: true };

let onConnection = 0;

socket.on("connect", () => {
  onConnection = 0;
  report.recovered.push(socket.recovered ?? false);
  report.ids.add(socket.id);
});
socket.on("n", (number, offset) => {
  report.numbers.push(number);
  report.offsets &&= typeof offset === "string";
  if (report.numbers.length === Number(count)) {
    console.log(JSON.stringify({ ...report, ids: report.ids.size }));
    process.exit(0);
  }
  onConnection += 1;
  if (onConnection === Number(most ?? 5)) {
    // Not within the payload of a poll: the client keeps the events behind this one for its next
    // connection, and does not report that it has them.
    setImmediate(() => {
      const { ws } = socket.io.engine.transport;
      ws ? ws.terminate() : socket.io.engine.close();
    });
  }
});
