// Does engine.io-client, with its default options, exchange messages in order during an upgrade?
//
// node engine.mjs URL COUNT: the server sends the numbers below COUNT, and expects them. Each tenth
// is binary. Prints what happened as JSON.
import { Socket } from "engine.io-client";

const [url, count] = [process.argv[2], Number(process.argv[3])];
const SLICE = 50;

const encode = (number) => {
  if (number % 10 !== 9) return String(number);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
};

const decode = (data) =>
  typeof data === "string" ? Number(data) : Buffer.from(data).readUInt32BE();

const socket = new Socket(url);
const report = { first: socket.transport?.name, upgraded: false, received: 0, inOrder: true };
let sent = 0;

// In slices, so that polling, the test of the WebSocket and the WebSocket get a part each.
const send = () => {
  for (let i = 0; i < SLICE && sent < count; i += 1, sent += 1) socket.send(encode(sent));
  if (sent < count) setTimeout(send, 1);
};

const finish = () => {
  if (report.received < count || sent < count || !report.upgraded) return;
  // The rest of what was sent goes first.
  socket.close();
};

socket.on("open", () => {
  report.first = socket.transport.name;
  send();
});
socket.on("upgrade", (transport) => {
  report.upgraded = transport.name;
});
socket.on("message", (data) => {
  report.inOrder &&= decode(data) === report.received;
  report.received += 1;
});
socket.on("error", (error) => {
  report.error = String(error);
});
socket.on("close", (reason) => {
  console.log(JSON.stringify({ ...report, reason }));
  process.exit(0);
});
setInterval(finish, 10);
