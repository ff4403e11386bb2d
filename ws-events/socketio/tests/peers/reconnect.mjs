// Does socket.io-client on node connect again after its server was killed?
//
// node reconnect.mjs URL TRANSPORTS: TRANSPORTS is a JSON list, or "null" for the default. Prints
// "connected" when it uses its last transport and has an answer, and after the server is back, what
// happened as JSON: see reconnect_steps.mjs.
import { io } from "socket.io-client";

import { run } from "./reconnect_steps.mjs";

const [url, transports] = process.argv.slice(2);
const report = await run({ io, url, transports: JSON.parse(transports), say: console.log });
console.log(JSON.stringify(report));
process.exit(0);
