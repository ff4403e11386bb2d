// Do clients of ws-events.js get every event once and in order, or learn that their session is new?
//
// usage: node long_run.mjs CLIENTS ROOMS URL...
//
// Each client connects to one of the URLs at random, and loses its connections, until it has the last
// number of each of its ROOMS rooms in one session. Prints how many sessions were recovered and lost.

import { createRequire } from 'node:module';

import { EventSocket } from '../../js/ws-events.js';

const peers = createRequire(new URL('../../../ws-client/tests/peers/package.json', import.meta.url));
const WebSocket = peers('ws');
if (process.argv[2] === '--version') process.exit(0);

const [clients, rooms, ...urls] = process.argv.slice(2).map((word) => JSON.parse(word));
const LAST = Number.MAX_SAFE_INTEGER;
let recoveries = 0;
let losses = 0;

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
    const before = new Map();
    const ended = new Set();
    let isNew = true;
    const url = () => urls[Math.floor(Math.random() * urls.length)];
    const socket = new EventSocket(url, { WebSocket: Watched, resume: true, minDelay: 10, maxDelay: 50, retry: () => true });
    socket.on('connect', ({ recovered }) => {
      if (recovered) recoveries += 1;
      else if (!isNew) losses += 1;
      isNew = false;
      if (recovered) return;
      before.clear();
      ended.clear();
    });
    socket.on('n', ([room, number]) => {
      const [epoch, offset] = position.split('-');
      const next = { epoch, offset: BigInt(offset), number };
      const last = before.get(room);
      if (last) {
        const isNext = next.epoch === last.epoch && next.offset === last.offset + 1n;
        if (!isNext || (number <= last.number && number !== LAST)) {
          // The socket catches what a listener throws.
          console.error(`client ${client} in ${room}:`, last, next);
          process.exit(1);
        }
      }
      before.set(room, next);
      if (number === LAST) ended.add(room);
      if (ended.size === rooms) {
        socket.close();
        resolve();
      } else if (number !== LAST && Math.random() < 1 / 60) {
        // Without a close frame.
        connection.terminate();
      }
    });
  });
}

await Promise.all(Array.from({ length: clients }, (_, client) => run(client)));
console.log(JSON.stringify([recoveries, losses]));
