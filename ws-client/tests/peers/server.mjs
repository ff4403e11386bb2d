// Does the server of node's `ws` work with a client?
//
// usage: node server.mjs COMPRESSION
//
// COMPRESSION is JSON: null for none, true for the default of the library, or parameters.
// Prints `{"port": …}`, and one line for each connection that has ended. The path selects
// the behaviour: /echo, /fragments (echoes in fragments), /ping (pings, and reports the
// pong), /close (with a code and a reason). Exits at the end of its input.

import { WebSocketServer } from 'ws';

import { perMessageDeflate, pieces } from './payloads.mjs';

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: perMessageDeflate(JSON.parse(process.argv[2])),
  handleProtocols: (offered) => offered.has('echo') && 'echo',
});

function print(line) {
  console.log(JSON.stringify(line));
}

server.on('listening', () => print({ port: server.address().port }));

server.on('connection', (ws, request) => {
  const { pathname, searchParams } = new URL(request.url, 'ws://localhost');
  ws.on('error', (error) => console.error(`${request.url}: ${error}`));
  ws.on('close', (code, reason) => print({ path: request.url, code, reason: String(reason) }));
  ws.on('message', (data, binary) => {
    const parts = pathname === '/fragments' ? pieces(data) : [data];
    parts.forEach((part, i) => ws.send(part, { binary, fin: i === parts.length - 1 }));
  });
  if (pathname === '/ping') {
    ws.on('pong', () => ws.send('pong'));
    ws.ping();
  }
  if (pathname === '/close') {
    const code = Number(searchParams.get('code'));
    code === 1005 ? ws.close() : ws.close(code, searchParams.get('reason') ?? '');
  }
});

process.stdin.on('end', () => process.exit()).resume();
