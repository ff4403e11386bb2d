// Does the page in Rust work with the chat?
//
// usage: node chat_page.mjs URL
//
// Opens the page for two users in headless Chromium. It uses the npm packages of the interop tests. $CHROMIUM is the
// browser; default: from $PATH.

import { createRequire } from 'node:module';

import { launchOptions } from '../../ws-client/tests/peers/browser.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const [url] = process.argv.slice(2);
const running = await peers('playwright-core').chromium.launch(launchOptions());

/** The page of a user who is in the room `general`. */
async function enter(name) {
  const page = await running.newPage();
  page.on('pageerror', (error) => console.error(String(error)));
  await page.goto(`${url}/wasm?name=${name}`);
  await page.getByText('connected').waitFor();
  return page;
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

const shown = (page, text) => page.locator('#log li', { hasText: text }).waitFor();

try {
  const [ann, bob] = [await enter('Ann'), await enter('Bob')];
  await say(ann, 'hello <b>');
  await shown(bob, 'Ann: hello <b>');
  await bob.fill('#room', 'random');
  await bob.press('#room', 'Tab');
  await say(bob, 'anybody?');
  await shown(bob, 'Bob: anybody?');
  await ann.fill('#room', 'random');
  await ann.press('#room', 'Tab');
  await shown(ann, 'Bob: anybody?');
} finally {
  await running.close();
}
process.exit(0);
