// Does a client with node's `http2` open WebSockets on a server (RFC 8441)?
//
// usage: node http2.mjs ROWS
//
// ROWS is JSON: the `url` of the server, http or https, and `sizes` of messages. Three WebSockets share
// one connection. Prints the progress to stderr, and finally the number of WebSockets to stdout.

import { once } from 'node:events';
import http2 from 'node:http2';

import { binary, same } from './payloads.mjs';

const HEADERS = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':path': '/echo',
  'sec-websocket-version': '13',
  'sec-websocket-protocol': 'unknown, echo',
};

// A frame with a mask of zeros.
function frame(opcode, payload) {
  const size = payload.length;
  const head = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (size < 126) head[1] = 0x80 | size;
  else if (size < 65536) (head[1] = 0xfe), head.writeUInt16BE(size, 2);
  else (head[1] = 0xff), head.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

// The payload of the next frame, which must have this opcode and length.
async function expect(stream, opcode, size) {
  const head = await read(stream, size < 126 ? 2 : size < 65536 ? 4 : 10);
  same(0x80 | opcode, head[0]);
  return read(stream, size);
}

async function read(stream, size) {
  const chunks = [];
  while (size > 0) {
    const chunk = stream.read(Math.min(size, stream.readableLength || size));
    if (chunk === null) await once(stream, 'readable');
    else chunks.push(chunk), (size -= chunk.length);
  }
  return Buffer.concat(chunks);
}

async function talk(session, rows, name) {
  const stream = session.request(HEADERS);
  const [answer] = await once(stream, 'response');
  same(200, answer[':status']);
  same('echo', answer['sec-websocket-protocol']);
  for (const size of rows.sizes) {
    console.error(`socket ${name}: ${size} bytes`);
    stream.write(frame(2, binary(size)));
    same(binary(size), await expect(stream, 2, size));
  }
  // Closes with close frames, and then ends the stream.
  stream.write(frame(8, Buffer.from([0x03, 0xe8])));
  same(Buffer.from([0x03, 0xe8]), await expect(stream, 8, 2));
  stream.end();
  stream.resume();
  await once(stream, 'close');
  same(0, stream.rstCode);
}

if (process.argv[2] === '--version') {
  console.log(`http2 of node ${process.versions.node}`);
} else {
  const rows = JSON.parse(process.argv[2]);
  // The certificate of the server is self-signed.
  const session = http2.connect(rows.url, { rejectUnauthorized: false });
  const [settings] = await once(session, 'remoteSettings');
  same(true, settings.enableConnectProtocol);
  const sockets = [1, 2, 3];
  await Promise.all(sockets.map((name) => talk(session, rows, name)));
  session.close();
  console.log(JSON.stringify({ sockets: sockets.length }));
}
