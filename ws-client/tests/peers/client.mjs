// Does the client of node's `ws` work with a server?
//
// usage: node client.mjs ROWS
//
// ROWS is JSON: the `url` of the server without a path, the `compression` to offer (null
// for none, true for the default of the library, or parameters), `sizes` of whole messages,
// sizes of messages in `fragments`, the closes of the client (`closes`) and of the server
// (`closed`). Prints the current row to stderr, and finally the negotiated extensions to
// stdout.

import { once } from 'node:events';
import { createRequire } from 'node:module';

import WebSocket from 'ws';

import { binary, perMessageDeflate, pieces, same, text } from './payloads.mjs';

const SUBPROTOCOLS = ['unknown', 'echo'];
const KINDS = [
  ['text', text],
  ['binary', binary],
];

function row(name) {
  console.error(name);
}

async function dial(rows, path) {
  const ws = new WebSocket(rows.url + path, SUBPROTOCOLS, {
    perMessageDeflate: perMessageDeflate(rows.compression),
  });
  const messages = [];
  const waiting = [];
  ws.on('message', (data, isBinary) => {
    const message = { kind: isBinary ? 'binary' : 'text', data };
    const next = waiting.shift();
    next ? next.resolve(message) : messages.push(message);
  });
  // Before any await, so that no event is missed.
  ws.ended = once(ws, 'close').then(([code, reason]) => {
    const error = new Error(`closed with ${code} ${reason}`);
    waiting.forEach((next) => next.reject(error));
    return [code, String(reason)];
  });
  ws.next = async () =>
    messages.shift() ?? new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  ws.on('upgrade', (response) => {
    ws.agreed = response.headers['sec-websocket-extensions'] ?? null;
  });
  await once(ws, 'open');
  return ws;
}

async function close(ws, code, reason) {
  code === 1005 ? ws.close() : ws.close(code, reason);
  same([code, reason], await ws.ended);
}

// Messages in one frame each.
async function whole(rows) {
  row('opening handshake');
  const ws = await dial(rows, '/echo');
  same('echo', ws.protocol);
  for (const size of rows.sizes) {
    for (const [kind, payload] of KINDS) {
      row(`${kind} of ${size} bytes, whole`);
      const sent = payload(size);
      ws.send(sent, { binary: kind === 'binary' });
      const echo = await ws.next();
      same(kind, echo.kind);
      same(sent, echo.data);
    }
  }
  await close(ws, 1000, '');
  return ws.agreed;
}

// Messages in fragments, both ways, with pings between the sent fragments.
async function fragmented(rows) {
  const ws = await dial(rows, '/fragments');
  for (const size of rows.fragments) {
    for (const [kind, payload] of KINDS) {
      row(`${kind} of ${size} bytes, in fragments`);
      const sent = payload(size);
      const pongs = [];
      pieces(sent).forEach((piece, i, all) => {
        ws.send(piece, { binary: kind === 'binary', fin: i === all.length - 1 });
        pongs.push(ping(ws, `between ${i}`));
      });
      const echo = await ws.next();
      same(kind, echo.kind);
      same(sent, echo.data);
      await Promise.all(pongs);
    }
  }
  await close(ws, 1000, '');
}

// Pings both ways. The server sends `pong` after it has received a pong.
async function pinged(rows) {
  const ws = await dial(rows, '/ping');
  row('ping from the server');
  same('pong', String((await ws.next()).data));
  for (const size of [0, 7, 125]) {
    row(`ping with ${size} bytes`);
    await ping(ws, 'x'.repeat(size));
  }
  await close(ws, 1000, '');
}

function ping(ws, payload) {
  const pong = new Promise((resolve) => {
    ws.on('pong', function check(data) {
      if (String(data) === payload) {
        ws.off('pong', check);
        resolve();
      }
    });
  });
  ws.ping(payload);
  return pong;
}

// Closing handshakes that the client starts.
async function closing(rows) {
  for (const [path, code, reason] of rows.closes) {
    row(`close with ${code} '${reason}'`);
    await close(await dial(rows, path), code, reason);
  }
}

// Closing handshakes that the server starts.
async function closed(rows) {
  for (const [path, code, reason] of rows.closed) {
    row(`being closed with ${code} '${reason}'`);
    same([code, reason], await (await dial(rows, path)).ended);
  }
}

if (process.argv[2] === '--version') {
  const { version } = createRequire(import.meta.url)('ws/package.json');
  console.log(`ws ${version} on node ${process.versions.node}`);
} else {
  const rows = JSON.parse(process.argv[2]);
  const extensions = await whole(rows);
  await fragmented(rows);
  await pinged(rows);
  await closing(rows);
  await closed(rows);
  console.log(JSON.stringify({ extensions }));
}
