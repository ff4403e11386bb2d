// Do servers of Socket.IO in node and hubs act as one cluster, over Redis?
//
// Usage: node cluster.mjs REDIS_PORT URL URL. The URLs are those of two hubs, which do on an event
// `act` what the servers of node do here. Prints one JSON object. The clients A and B are at servers
// of node, C and D at hubs.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const [port, ...hubs] = process.argv.slice(2);
const report = {};
const step = (name) => process.stderr.write(`${name}\n`);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const until = async (condition) => {
  while (!(await condition())) await turn();
};

// Values that are bytes as lists of numbers.
const plain = (value) => {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};

const redis = async () => {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  return client;
};
const pub = await redis();

const servers = [];
for (let at = 0; at < 2; at++) {
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(await redis(), await redis()) });
  io.on("connection", (socket) => {
    socket.join(["room", socket.handshake.auth.parity]);
    socket.on("to others", (...args) => socket.broadcast.emit("from A", ...args));
  });
  io.on("hello", (...args) => io.local.emit("server", ...args));
  io.on("ask", (n, answer) => answer(n + 1));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  servers.push({ io, url: `http://127.0.0.1:${http.address().port}` });
}
const io = servers[0].io;
const admin = io.of("/admin");

step("subscriptions");
await until(async () => {
  const [, count] = await pub.sendCommand(["PUBSUB", "NUMSUB", "socket.io-request#/#"]);
  return Number(count) === 4;
});
report.servers = await io.of("/").adapter.serverCount();

step("clients");
const clients = [];
const silent = new Set();
const urls = [...servers.map((server) => server.url), ...hubs];
for (const [at, url] of urls.entries()) {
  const name = "ABCD"[at];
  const auth = { parity: at % 2 ? "even" : "odd" };
  const socket = connect(url, { auth, transports: ["websocket"], forceNew: true });
  const client = { name, socket, got: [], fences: 0, reason: null };
  socket.onAny((event, ...args) => {
    if (event === "fence") client.fences += 1;
    else if (event !== "question") client.got.push([event, ...plain(args)]);
  });
  socket.on("question", (n, answer) => {
    if (!silent.has(name)) answer(n === "bytes" ? Buffer.from([at]) : `${name} ${n}`);
  });
  socket.on("disconnect", (reason) => (client.reason = reason));
  clients.push(client);
}
const [a, b, c, d] = clients;
const act = (what, arg = null) => c.socket.emitWithAck("act", what, arg);
await until(() => clients.every((client) => client.socket.connected));
const ids = Object.fromEntries(clients.map(({ name, socket }) => [name, socket.id]));
const names = (texts) =>
  texts.map((text) => Object.keys(ids).find((name) => ids[name] === text) ?? text).sort();
// All have joined their rooms.
await until(async () => (await io.in("odd").in("even").fetchSockets()).length === 4);

// What each client has got since the last call: everything before a fence of the same sender.
let fences = 0;
const take = async () => {
  fences += 1;
  await until(() => clients.every((client) => client.fences === fences));
  const taken = {};
  for (const client of clients) {
    taken[client.name] = client.got;
    client.got = [];
  }
  return taken;
};

step("broadcasts of node");
io.emit("all", 1, { a: [1.5, null, "ü"] });
io.emit("none");
io.to("room").emit("room", Buffer.from([0, 255]), 7, { nested: Buffer.from("x") });
io.to("even").to("odd").emit("union", true);
io.to("even").emit("even");
io.except("even").emit("not even");
io.to("room").except(ids.C).emit("not C");
io.to(ids.D).emit("only D");
io.to(ids.B).emit("only B");
io.local.emit("local");
io.compress(false).emit("plain", "text");
io.emit("message", "text");
io.emit("message", Buffer.from([1]));
io.emit("message", { a: 1 });
io.emit("fence");
report.node = await take();
await new Promise((resolve) => {
  b.socket.once("from A", resolve);
  a.socket.emit("to others", 1);
});
io.emit("fence");
report.others = await take();

step("broadcasts of a hub");
await act("broadcasts", [ids.B, ids.C, ids.D]);
report.hub = await take();

step("volatile");
// It is dropped while a transport is busy.
const volatile = async (send) => {
  const has = (client) => client.got.some(([event]) => event === "volatile");
  await until(async () => {
    await send();
    return clients.every(has);
  });
};
await volatile(() => io.volatile.emit("volatile"));
io.emit("fence");
await take();
await volatile(() => act("volatile"));
await act("fence");
await take();

step("look-ups");
const described = (sockets) =>
  sockets.map(({ id, rooms }) => [names([id])[0], names([...rooms])]).sort();
report.nodeFetch = described(await io.in("room").except("even").fetchSockets());
report.nodeFetchAll = (await servers[1].io.fetchSockets()).length;
report.hubFetch = described(await act("fetch"));
report.hubCount = await act("count");
report.rooms = names([...(await io.of("/").adapter.allRooms())]);

step("server events");
const counted = async (who, count) => {
  await until(() => who.every((client) => client.got.length >= count));
};
io.serverSideEmit("hello", 1, { a: "ü" });
await counted([b, c, d], 1);
io.emit("fence");
report.nodeServer = await take();
report.nodeAsk = await io.serverSideEmitWithAck("ask", 20);
await act("server emit");
await counted([a, b, d], 1);
await act("fence");
report.hubServer = await take();
report.hubAsk = await act("server ask");

step("acknowledgements");
report.nodeAcks = (await io.to("room").timeout(20000).emitWithAck("question", 1)).sort();
report.nodeBytes = plain(await io.to("room").timeout(20000).emitWithAck("question", "bytes"));
report.nodeBytes.sort((one, other) => one.bytes[0] - other.bytes[0]);
report.nodeNone = await io.to("nobody").timeout(20000).emitWithAck("question", 1);
report.hubAcks = await act("acks", 20000);
report.hubBytes = await act("bytes", 20000);
silent.add("B").add("D");
report.nodeLate = await io
  .to("room")
  .timeout(1000)
  .emitWithAck("question", 2)
  .catch((error) => [error.message, error.responses.sort()]);
report.hubLate = await act("acks", 1000);

step("operations");
io.in("room").socketsJoin(["new", "other"]);
await until(async () => (await io.in("new").fetchSockets()).length === 4);
io.in("even").socketsLeave("new");
await until(async () => (await io.in("new").fetchSockets()).length === 2);
report.left = described(await io.in("new").fetchSockets()).map(([name]) => name);
io.emit("fence");
await take();
await act("join and leave");
report.joined = await take();

step("emitter");
const emitter = new Emitter(pub);
emitter.to("room").except("even").emit("emitted", Buffer.from([7]), "x");
emitter.in("room").socketsJoin("emitter");
emitter.to("emitter").emit("joined", 1);
emitter.volatile.emit("all");
emitter.emit("fence");
report.emitter = await take();
for (const got of Object.values(report.emitter)) {
  // It may be dropped.
  const at = got.findIndex(([event]) => event === "all");
  if (at >= 0) got.splice(at, 1);
}
emitter.serverSideEmit("hello", 2);
await counted(clients, 1);
emitter.emit("fence");
report.emitterServer = await take();

step("namespaces");
const admins = [servers[0].url, hubs[0]].map((url) =>
  connect(`${url}/admin`, { transports: ["websocket"], forceNew: true }),
);
await until(() => admins.every((socket) => socket.connected));
await until(async () => (await admin.fetchSockets()).length === 2);
const told = admins.map((socket) => new Promise((resolve) => socket.once("admin", resolve)));
admin.emit("admin", 1);
report.admin = await Promise.all(told);
io.emit("fence");
report.adminElsewhere = await take();
admins.forEach((socket) => socket.disconnect());

step("disconnects");
io.in(ids.D).disconnectSockets();
await until(() => d.reason !== null);
await act("kick", ids.B);
await until(() => b.reason !== null);
io.in(ids.C).disconnectSockets(true);
await until(() => c.reason !== null);
report.connectedBefore = a.socket.connected;
emitter.in(ids.A).disconnectSockets(true);
await until(() => a.reason !== null);
report.reasons = clients.map((client) => client.reason);

process.stdout.write(JSON.stringify(report));
process.exit(0);
