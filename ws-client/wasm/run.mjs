// Do the scenes pass in this environment?
//
// usage: node run.mjs chromium|events|node ORIGIN FOLDER [SCENE]
//
// Runs the scenes of `examples/scenes.rs` with the server at ORIGIN: in headless Chromium, there without its
// WebSocketStream, or with the WebSocket of node. FOLDER has the module, which the server serves, too. Other commands of a scene go to stdout, and their answers
// are the lines of stdin. With `--version` in place of ORIGIN, only tells whether the environment is there. It uses the
// npm packages of the interop tests. $CHROMIUM is the browser; default: from $PATH.

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { browser, launchOptions } from '../tests/peers/browser.mjs';

const [environment, origin, folder, only] = process.argv.slice(2);
const peers = createRequire(new URL('../tests/peers/package.json', import.meta.url));

const missing = {
  chromium: () => peers('playwright-core') && browser() ? '' : 'no chromium in $PATH',
  node: () => globalThis.WebSocket ? '' : `node ${process.versions.node} has no WebSocket`,
}[environment === 'node' ? 'node' : 'chromium']();
if (missing) {
  console.error(missing);
  process.exit(1);
}
if (origin === '--version') process.exit(0);

/** The timeout of a scene, in ms. With $WS_SOAK, scenes repeat what they do ten times as often. */
const TIMEOUT = process.env.WS_SOAK ? 600_000 : 30_000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const chromium = environment !== 'node' && await launch();

async function control(command) {
  if (command === 'turn') return void await new Promise((resolve) => setTimeout(resolve));
  if (command === 'is-page') return chromium ? 'yes' : 'no';
  if (command === 'has-backpressure') return environment === 'chromium' ? 'yes' : 'no';
  if (command === 'rounds') return process.env.WS_SOAK ? '10' : '1';
  if (command === 'visible' || command === 'hidden') {
    return void await chromium.page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, value: state });
      document.dispatchEvent(new Event('visibilitychange'));
    }, command);
  }
  if (command === 'offline' || command === 'online') {
    return void await chromium.page.context().setOffline(command === 'offline');
  }
  console.log(command);
  return (await lines.next()).value;
}

async function launch() {
  const running = await peers('playwright-core').chromium.launch(launchOptions());
  const page = await running.newPage();
  return { running, page };
}

/** Runs one scene, or lists them all. */
async function scenes() {
  const server = origin.replace('http', 'ws');
  if (!chromium) {
    globalThis.control = control;
    const module = await import(pathToFileURL(join(folder, 'scenes.js')));
    await module.default({ module_or_path: await readFile(join(folder, 'scenes_bg.wasm')) });
    return { names: module.names(), run: (name) => module.run(name, server) };
  }
  const { page } = chromium;
  const failed = new Promise((_, reject) => page.on('pageerror', reject));
  page.on('console', (message) => console.error(message.text()));
  await page.exposeFunction('control', control);
  if (environment === 'events') await page.addInitScript(() => delete globalThis.WebSocketStream);
  await page.goto(`${origin}/`);
  const names = await page.evaluate(async () => {
    globalThis.scenes = await import('/scenes.js');
    await globalThis.scenes.default({ module_or_path: '/scenes_bg.wasm' });
    return globalThis.scenes.names();
  });
  const run = (name) => page.evaluate(([name, server]) => globalThis.scenes.run(name, server), [name, server]);
  return { names, run: (name) => Promise.race([run(name), failed]) };
}

let failures = 0;
const { names, run } = await scenes();
for (const name of names.filter((name) => !only || name === only)) {
  const started = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} takes too long`)), TIMEOUT);
  });
  try {
    await Promise.race([run(name), late]);
    console.error(`${name} ${Math.round(performance.now() - started)} ms`);
  } catch (error) {
    console.error(`FAILED ${error}`);
    failures += 1;
  }
  clearTimeout(timer);
}
await chromium?.running?.close();
process.exit(failures > 0 ? 1 : 0);
