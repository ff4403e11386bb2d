// What does the official client see of a hub, with its default options?
//
// Usage: node socketio.mjs URL [msgpack]. Prints one JSON object. `msgpack`: with that parser.
import { io } from "socket.io-client";

const url = process.argv[2];
const options =
  process.argv[3] === "msgpack" ? { parser: (await import("socket.io-msgpack-parser")).default } : {};
const report = {};
const once = (emitter, event) =>
  new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
const step = (name) => process.stderr.write(`${name}\n`);

step("connect");
const socket = io(url, { auth: { user: "ann" }, ...options });
const welcome = once(socket, "welcome");
const burst = [];
const finished = new Promise((resolve) => {
  socket.on("n", (n) => {
    burst.push(n);
    if (n === 9999) resolve();
  });
});
const connected = once(socket, "connect");
await once(socket.io, "open");
report.first = socket.io.engine.transport.name;
const upgraded = once(socket.io.engine, "upgrade");
await connected;
// While the transport is upgraded.
socket.emit("burst", 10000);
report.welcome = await welcome;
await upgraded;
report.then = socket.io.engine.transport.name;
step("burst");
await finished;
report.burst = burst.length;
report.ordered = burst.every((n, at) => n === at);

step("acknowledgements");
report.double = await socket.emitWithAck("double", 21);
report.late = await socket.timeout(200).emitWithAck("never").catch((error) => error.message);
socket.on("question", (n, answer) => answer(n + 1, "yes"));
report.asked = await socket.emitWithAck("ask", 1);

step("binary");
report.binary = await new Promise((resolve) => {
  socket.emit("echo", Buffer.from([0, 255]), 7, (bytes, n) => {
    resolve([[...new Uint8Array(bytes)], n]);
  });
});
socket.once("message", (bytes) => (report.message = [...new Uint8Array(bytes)]));
report.sent = await new Promise((resolve) => socket.emit("message", "hello", resolve));

step("values");
// With each parser the same as JSON.stringify writes.
report.dates = await socket.emitWithAck("json", {
  date: new Date(1709210096789),
  early: [new Date(-62167219200001)],
  late: new Date(253402300800000),
});

step("namespaces");
const refused = io(`${url}/admin`, { auth: { token: "wrong" }, ...options });
const [error] = await once(refused, "connect_error");
report.refused = [error.message, error.data];
refused.auth = { token: "right" };
refused.connect();
await once(refused, "connect");
report.admin = await refused.emitWithAck("where");
report.shared = refused.io === socket.io;
const unknown = io(`${url}/unknown`, options);
report.unknown = (await once(unknown, "connect_error"))[0].message;
unknown.disconnect();
const left = once(refused, "disconnect");
refused.disconnect();
report.left = (await left)[0];

step("reasons");
const kicked = once(socket, "disconnect");
socket.emit("kick");
report.kicked = (await kicked)[0];
report.active = socket.active;
socket.connect();
await once(socket, "connect");
const drained = once(socket, "disconnect");
socket.emit("drain");
report.drained = (await drained)[0];
report.comesBack = socket.active;
socket.disconnect();

process.stdout.write(JSON.stringify(report));
process.exit(0);
