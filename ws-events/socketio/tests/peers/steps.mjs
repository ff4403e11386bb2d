// What does the official client see of a hub, with its default options?
//
// Uses nothing of node, so that a page can run it, too: see socketio.mjs and page.mjs.

/**
 * Returns a report. `io` is the client, with `options` for each connection; `step` gets the name of each
 * step. `second` is the URL of a server with a small send queue and a short heartbeat, behind a proxy that
 * can be silenced.
 */
export async function run({ io, url, second, options = {}, step }) {
  const report = {};
  const once = (emitter, event) =>
    new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));

  step("connect");
  const socket = io(url, { auth: { user: "ann" }, ...options });
  // Before there is a connection, a volatile event is lost, and another one waits.
  socket.volatile.emit("note", "volatile and early");
  socket.emit("note", "early");
  const welcome = once(socket, "welcome");
  const burst = [];
  const by = { polling: 0, websocket: 0 };
  const finished = new Promise((resolve) => {
    socket.on("n", (n) => {
      burst.push(n);
      by[socket.io.engine.transport.name] += 1;
      if (n === 9999) resolve();
    });
  });
  const connected = once(socket, "connect");
  const opened = once(socket.io, "open");
  await opened;
  report.first = socket.io.engine.transport.name;
  // The server lets a WebSocket through when it has sent a part of the first half. The rest of it comes
  // while the transport is upgraded, and the second half later.
  const upgraded = new Promise((resolve) => {
    socket.io.engine.once("upgrade", () => {
      socket.emit("burst", 5000, 10000);
      resolve();
    });
  });
  await connected;
  socket.emit("burst", 0, 5000);
  report.welcome = await welcome;
  await upgraded;
  report.then = socket.io.engine.transport.name;
  step("burst");
  await finished;
  report.burst = burst.length;
  report.ordered = burst.every((n, at) => n === at);
  report.byBoth = by.polling > 0 && by.websocket > 0;
  step(JSON.stringify(by));

  step("acknowledgements");
  report.double = await socket.emitWithAck("double", 21);
  report.late = await socket.timeout(200).emitWithAck("never").catch((error) => error.message);
  report.inTime = await socket.timeout(60000).emitWithAck("double", 4);
  socket.on("question", (n, answer) => answer(n + 1, "yes"));
  report.asked = await socket.emitWithAck("ask", 1);
  report.askedInTime = await socket.emitWithAck("ask in time", 2);
  // It gives no answer.
  socket.on("ignored", () => {});
  report.unanswered = await socket.emitWithAck("ask for nothing");

  step("volatile");
  socket.volatile.emit("note", "volatile and connected");
  report.notes = await socket.emitWithAck("notes");
  const volatile = [];
  socket.on("v", (n) => volatile.push(n));
  const flooded = once(socket, "flooded");
  socket.emit("flood");
  const [queued, dropped] = await flooded;
  report.volatile = [volatile.length === queued && queued > 0, volatile.every((n, at) => n === at), dropped];

  step("binary");
  report.binary = await new Promise((resolve) => {
    socket.emit("echo", Uint8Array.of(0, 255), 7, (bytes, n) => {
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
  // Why the socket was disconnected, and whether it connects again by itself.
  const reason = async (socket, end) => {
    if (!socket.connected) {
      const connected = once(socket, "connect");
      socket.connect();
      await connected;
    }
    const { engine } = socket.io;
    if (engine.transport.name !== "websocket") await once(engine, "upgrade");
    const disconnected = once(socket, "disconnect");
    end();
    return [(await disconnected)[0], socket.active];
  };
  report.kicked = await reason(socket, () => socket.emit("kick"));
  report.drained = await reason(socket, () => socket.emit("drain"));
  report.sessionClosed = await reason(socket, () => socket.emit("close session", 1008));
  report.sessionDrained = await reason(socket, () => socket.emit("close session", 1001));
  // The packet `4x`, of a type that does not exist.
  report.malformed = await reason(socket, () => socket.io.engine.write("x"));
  socket.disconnect();
  const other = io(second, { ...options, reconnectionDelay: 50, reconnectionDelayMax: 200 });
  await once(other, "connect");
  report.slow = await reason(other, () => other.emit("flood"));
  report.silent = await reason(other, () => other.emit("silence"));
  other.disconnect();
  return report;
}
