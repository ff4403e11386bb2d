// How does socket.io on node serve the members of the hub benchmark?
//
// usage: node socketio_node.mjs TEXT
//
// Adds each socket to one room, and sends TEXT as often as a member requests. Prints its address, and
// ends with its input.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';

const peers = new URL('../../../../ws-events/socketio/tests/peers/package.json', import.meta.url);
const { Server } = createRequire(peers)('socket.io');

const text = process.argv[2];
const server = createServer();
// The load driver does not answer pings.
const hour = 3_600_000;
const io = new Server(server, { pingInterval: hour, pingTimeout: hour });
io.on('connection', (socket) => {
  socket.join('room');
  socket.on('go', (burst) => {
    for (let sent = 0; sent < burst; sent += 1) io.to('room').emit('m', text);
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => {
  console.log(`127.0.0.1:${server.address().port}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
