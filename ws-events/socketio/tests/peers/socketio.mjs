// Does the official client on node work with a hub, with its default options?
//
// Usage: node socketio.mjs URL SECOND [msgpack]. Prints one JSON object: see steps.mjs. `msgpack`: with
// that parser.
import { io } from "socket.io-client";

import { run } from "./steps.mjs";

const [url, second, parser] = process.argv.slice(2);
const options =
  parser === "msgpack" ? { parser: (await import("socket.io-msgpack-parser")).default } : {};
const step = (name) => process.stderr.write(`${name}\n`);
process.stdout.write(JSON.stringify(await run({ io, url, second, options, step })));
process.exit(0);
