// Do clients of ws-events.js, and of socket.io-client, get every event once and in order, or learn that
// their session is new?
//
// usage: node long_run.mjs CLIENTS ROOMS NODE...
//
// A NODE has two URLs, as a JSON list: for the clients of ws-events.js, and for every other client, which is
// one of socket.io-client. Each connects to one of the nodes at random, and loses its connections, until it
// has the last number of each of its ROOMS rooms in one session. Prints how many sessions were recovered and
// lost.

import { createRequire } from 'node:module';

import { EventSocket } from '../../js/ws-events.js';

const peers = createRequire(new URL('../../../ws-client/tests/peers/package.json', import.meta.url));
const WebSocket = peers('ws');
const others = createRequire(new URL('../../socketio/tests/peers/package.json', import.meta.url));
const { io } = others('socket.io-client');
if (process.argv[2] === '--version') process.exit(0);

const [clients, rooms, ...nodes] = process.argv.slice(2).map((word) => JSON.parse(word));
const LAST = Number.MAX_SAFE_INTEGER;
const random = (list) => list[Math.floor(Math.random() * list.length)];
let recoveries = 0;
let losses = 0;

/** What a client knows of its session. */
class Session {
  #before = new Map();
  #starts = new Map();
  #ended = new Set();
  #isNew = true;

  constructor(client) {
    this.client = client;
  }

  connected(recovered) {
    if (recovered) recoveries += 1;
    else if (!this.#isNew) losses += 1;
    this.#isNew = false;
    if (recovered) return;
    this.#before.clear();
    this.#starts.clear();
    this.#ended.clear();
  }

  /** The positions of its rooms when it has joined them. */
  started(positions) {
    this.#starts = new Map(positions);
  }

  /** Whether it has the last number of all rooms. */
  got([room, number], position) {
    const next = { ...parse(position), number };
    const last = this.#before.get(room);
    const start = this.#starts.get(room);
    if (last) {
      const isNext = next.epoch === last.epoch && next.offset === last.offset + 1n;
      if (!isNext || (number <= last.number && number !== LAST)) this.#fail(room, last, next);
    } else if (start) {
      const { epoch, offset } = parse(start);
      if (next.epoch !== epoch || next.offset > offset + 1n) this.#fail(room, start, next);
    }
    this.#before.set(room, next);
    if (number === LAST) this.#ended.add(room);
    return this.#ended.size === rooms;
  }

  #fail(room, before, next) {
    // A client catches what a listener throws.
    console.error(`client ${this.client} in ${room}:`, before, next);
    process.exit(1);
  }
}

function parse(position) {
  const [epoch, offset] = position.split('-');
  return { epoch, offset: BigInt(offset) };
}

const isLost = (number) => number !== LAST && Math.random() < 1 / 60;

function run(client) {
  let connection;
  let position;
  /** Knows the position of the event that comes next. */
  class Watched extends WebSocket {
    constructor(...args) {
      super(...args);
      connection = this;
      this.addEventListener('message', ({ data }) => ({ at: position } = JSON.parse(data)));
    }
  }
  return new Promise((resolve) => {
    const session = new Session(client);
    const url = () => random(nodes)[0];
    const socket = new EventSocket(url, { WebSocket: Watched, resume: true, minDelay: 10, maxDelay: 50, retry: () => true });
    socket.on('connect', ({ recovered }) => session.connected(recovered));
    socket.on('start', (positions) => session.started(positions));
    socket.on('n', (data) => {
      if (session.got(data, position)) {
        socket.close();
        resolve();
      } else if (isLost(data[1])) {
        // Without a close frame.
        connection.terminate();
      }
    });
  });
}

function runSocketIo(client) {
  return new Promise((resolve) => {
    const session = new Session(client);
    const options = { path: '/engine.io/', transports: ['websocket'], reconnectionDelay: 20, reconnectionDelayMax: 50, forceNew: true };
    const socket = io(random(nodes)[1], options);
    socket.on('connect', () => session.connected(socket.recovered ?? false));
    // The next connection is to any node.
    socket.io.on('reconnect_attempt', () => (socket.io.uri = random(nodes)[1]));
    socket.on('start', (positions) => session.started(positions));
    // The last of several offsets is that of the event.
    socket.on('n', (room, number, offsets) => {
      if (session.got([room, number], offsets.split(',').at(-1))) {
        socket.close();
        resolve();
      } else if (isLost(number)) {
        // Behind the events that are there: those that come later are kept for the next connection, and
        // the server is not told that they are there.
        const { ws } = socket.io.engine.transport;
        setImmediate(() => ws.terminate());
      }
    });
  });
}

await Promise.all(Array.from({ length: clients }, (_, client) => (client % 2 ? runSocketIo : run)(client)));
console.log(JSON.stringify([recoveries, losses]));
