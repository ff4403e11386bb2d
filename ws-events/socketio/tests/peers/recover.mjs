// Does socket.io-client get its session back, with all that it has missed and once?
//
// node recover.mjs URL TRANSPORTS COUNT: TRANSPORTS is a JSON list. Gets numbers by the event "n", and
// loses its connection at each fifth one, until it has COUNT numbers. Prints as JSON what it got.
import { io } from "socket.io-client";

const [url, transports, count] = process.argv.slice(2);
const socket = io(url, {
  path: "/engine.io/",
  reconnectionDelay: 20,
  reconnectionDelayMax: 50,
  transports: JSON.parse(transports),
});
const report = { numbers: [], recovered: [], ids: new Set() };

socket.on("connect", () => {
  report.recovered.push(socket.recovered ?? false);
  report.ids.add(socket.id);
});
socket.on("n", (number) => {
  report.numbers.push(number);
  if (report.numbers.length === Number(count)) {
    console.log(JSON.stringify({ ...report, ids: report.ids.size }));
    process.exit(0);
  }
  if (report.numbers.length % 5 === 0) {
    const { ws } = socket.io.engine.transport;
    // What has arrived and was not handled is lost, too.
    socket.io.engine.transport.removeAllListeners("packet");
    ws ? ws.terminate() : socket.io.engine.close();
  }
});
