// Do the scenes pass in this environment?
//
// usage: node run.mjs chromium|node|ws ORIGIN [SCENE]
//
// Runs the scenes with the server at ORIGIN: in headless Chromium, with the WebSocket of node, or with that of the npm
// package `ws`. Prints `kill` and `start` to make the caller end and start the server, and waits for a line each time.
// With `--version` in place of ORIGIN, only tells whether the environment is there. It uses the npm packages of the
// interop tests. $CHROMIUM is the browser; default: from $PATH.

import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

import { browser, launchOptions } from '../../../ws-client/tests/peers/browser.mjs';

const [environment, origin, only] = process.argv.slice(2);
const peers = createRequire(new URL('../../../ws-client/tests/peers/package.json', import.meta.url));

const missing = {
  chromium: () => peers('playwright-core') && browser() ? '' : 'no chromium in $PATH',
  node: () => globalThis.WebSocket ? '' : `node ${process.versions.node} has no WebSocket`,
  ws: () => peers('ws') ? '' : 'no package ws',
}[environment]();
if (missing) {
  console.error(missing);
  process.exit(1);
}
if (origin === '--version') process.exit(0);

/** A TCP proxy that can keep all bytes back. */
const pairs = new Set();
let isHeld = false;
const proxy = createServer((near) => {
  const { hostname, port } = new URL(origin);
  const far = connect(port, hostname);
  pairs.add([near, far]);
  for (const [from, to] of [[near, far], [far, near]]) {
    from.on('data', (data) => to.write(data));
    from.on('error', () => {});
    from.on('close', () => to.destroy());
    if (isHeld) from.pause();
  }
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let context;

async function control(command) {
  const [word, name] = command.split(' ');
  if (word === 'scene') {
    console.error(name);
  } else if (word === 'hold' || word === 'pass') {
    isHeld = word === 'hold';
    for (const pair of pairs) for (const end of pair) isHeld ? end.pause() : end.resume();
  } else if (word === 'cut') {
    for (const pair of pairs) for (const end of pair) end.destroy();
    pairs.clear();
  } else if (word === 'offline' || word === 'online') {
    await context.setOffline(word === 'offline');
  } else {
    console.log(command);
    await lines.next();
  }
}

const address = origin.replace('http', 'ws');
const options = {
  url: `${address}/ws`,
  origin: address,
  proxied: `ws://127.0.0.1:${proxy.address().port}`,
  only,
};

if (environment === 'chromium') {
  const { chromium } = peers('playwright-core');
  const running = await chromium.launch(launchOptions());
  try {
    context = await running.newContext();
    const page = await context.newPage();
    page.on('pageerror', (error) => console.error(String(error)));
    await page.exposeFunction('control', control);
    await page.goto(`${origin}/`);
    await page.evaluate(async (options) => {
      const { run } = await import('/test/scenes.mjs');
      await run({ ...options, control });
    }, options);
  } finally {
    await running.close();
  }
} else {
  const { run } = await import('./scenes.mjs');
  await run({ ...options, control, WebSocket: environment === 'ws' ? peers('ws') : undefined });
}
process.exit(0);
