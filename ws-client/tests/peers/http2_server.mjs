// Does a server with node's `http2` work with a client (RFC 8441)?
//
// usage: node http2_server.mjs SETTINGS
//
// SETTINGS is JSON: a `key` and a `cert` in PEM, and whether extended CONNECT is `allowed`.
// `ws` encodes the frames. Prints `{"port": …}`. Echoes; on /sessions, sends the number of
// connections as the only message. Exits at the end of its input.

import http2 from 'node:http2';

import { Receiver, Sender } from 'ws';

const { key, cert, allowed } = JSON.parse(process.argv[2]);
const settings = { enableConnectProtocol: allowed };
const server = http2.createSecureServer({ key, cert, settings });

let sessions = 0;
server.on('session', () => sessions++);
server.on('sessionError', (error) => console.error(`session: ${error}`));

server.on('stream', (stream, headers) => {
  stream.on('error', (error) => console.error(`${headers[':path']}: ${error}`));
  if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
    stream.respond({ ':status': 400 }, { endStream: true });
    return;
  }
  stream.respond({ ':status': 200 });
  const sender = new Sender(stream);
  const receiver = new Receiver({ isServer: true, maxPayload: 1 << 26 });
  const options = (binary) => ({ fin: true, binary, compress: false, mask: false });
  receiver.on('message', (data, binary) => sender.send(data, options(binary)));
  receiver.on('ping', (data) => sender.pong(data, false));
  receiver.on('conclude', (code, reason) => {
    sender.close(code === 1005 ? undefined : code, reason, false, () => stream.end());
  });
  if (headers[':path'] === '/sessions') sender.send(String(sessions), options(false));
  stream.pipe(receiver);
});

server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ port: server.address().port }));
});

process.stdin.on('end', () => process.exit()).resume();
