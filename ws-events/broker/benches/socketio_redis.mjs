// How many messages a second get from one server of socket.io on node to another, and how late are they?
//
// usage: node socketio_redis.mjs PORT [--short]
//
// Two processes use the official Redis adapter with the Redis at PORT. The first sends as the hubs of
// `cluster.rs` do. The second counts what its adapter passes on to its sockets, and has none: writing
// to a socket costs it nothing.

import { fork } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const peers = new URL('../../socketio/tests/peers/package.json', import.meta.url);
const load = createRequire(peers);
const { Server } = load('socket.io');
const { Adapter } = load('socket.io-adapter');
const { createAdapter } = load('@socket.io/redis-adapter');
const { createClient } = load('redis');

const [, , port, ...words] = process.argv;
const isShort = words.includes('--short');
const MESSAGES = isShort ? 10_000 : 100_000;
const TIMED = isShort ? 5_000 : 50_000;
const BYTES = 100;

const now = () => process.hrtime.bigint();

async function serve() {
  const clients = [0, 1].map(() => createClient({ url: `redis://127.0.0.1:${port}` }));
  await Promise.all(clients.map((client) => client.connect()));
  return new Server(createServer(), { adapter: createAdapter(...clients) });
}

/** Sends as fast as the other server receives, and then ten messages each millisecond. */
async function send() {
  const io = await serve();
  const other = fork(new URL(import.meta.url), [port, ...words, 'receive']);
  const answer = () => new Promise((resolve) => other.once('message', resolve));
  await answer();
  const room = io.to('room');
  const text = 'x'.repeat(BYTES);
  let received = 0;
  other.on('message', (message) => message.received && ({ received } = message));
  const started = now();
  for (let sent = 0; sent < MESSAGES; sent += 1) {
    room.emit('m', text);
    if (sent % 64 === 0) await new Promise(setImmediate);
    // Bounded, as the pipeline of a hub is.
    while (sent - received > 10_000) await new Promise(setImmediate);
  }
  while (received < MESSAGES) await new Promise(setImmediate);
  const seconds = Number(now() - started) / 1e9;
  console.log(`socket.io on node, redis: ${(MESSAGES / seconds).toFixed(0)} messages/s from node to node`);
  const began = Date.now();
  for (let sent = 0; sent < TIMED;) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const due = Math.min(TIMED, 10 * (Date.now() - began));
    for (; sent < due; sent += 1) room.emit('t', String(now()).padEnd(BYTES));
  }
  const delays = (await answer()).delays ?? (await answer()).delays;
  const [p50, p99] = delays.map((it) => (it / 1e6).toFixed(3));
  console.log(`socket.io on node, redis: at 10,000/s, p50 ${p50} ms and p99 ${p99} ms from node to node`);
  process.exit(0);
}

async function receive() {
  let received = 0;
  const delays = [];
  Adapter.prototype.broadcast = ({ data: [event, text] }) => {
    if (event === 'm') {
      received += 1;
      if (received % 64 === 0 || received === MESSAGES) process.send({ received });
    } else {
      delays.push(Number(now() - BigInt(text)));
      if (delays.length < TIMED) return;
      delays.sort((one, other) => one - other);
      process.send({ delays: [50, 99].map((percent) => delays[(TIMED * percent) / 100]) });
    }
  };
  const io = await serve();
  // The adapter drops what is for a room that it does not have.
  io.of('/').adapter.rooms.set('room', new Set());
  process.on('disconnect', () => process.exit(0));
  setTimeout(() => process.send({}), 500);
}

await (words.includes('receive') ? receive() : send());
