// Does the chat work in a browser while one of its processes is killed?
//
// usage: node chat_cluster.mjs URL
//
// Three pages in headless Chromium talk at URL, behind which are several processes. The program prints
// `talking`, waits for a line, and then for the pages to be back. It uses the npm packages of the interop
// tests. $CHROMIUM is the browser; default: from $PATH.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline/promises';

import { launchOptions } from '../../ws-client/tests/peers/browser.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');

/** The timeout of each step, in ms. */
const TIMEOUT = 40_000;

/** The answers of the servers to sessions: whether they were recovered. */
const sessions = [];

async function come(running, name) {
  const context = await running.newContext();
  context.setDefaultTimeout(TIMEOUT);
  const page = await context.newPage();
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
    const recovered = /"recovered":(true|false)/.exec(String(payload));
    if (recovered) sessions.push(recovered[1] === 'true');
  }));
  await page.goto(process.argv[2]);
  await page.getByLabel('Your name').fill(name);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: '# general' }).waitFor();
  return page;
}

/** Sends a message, and waits until a server has confirmed it. */
async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.keyboard.press('Enter');
  await page.locator('.said:not(.waiting, .failed) .words', { hasText: text }).first().waitFor();
}

/** Each page says something, and all pages see everything. */
async function talk(pages, text) {
  const texts = pages.map((_, index) => `${text} ${index}`);
  await Promise.all(pages.map((page, index) => say(page, texts[index])));
  for (const page of pages) {
    await page.locator('#about', { hasText: '3 people here' }).waitFor();
    for (const text of texts) {
      await page.locator('.words', { hasText: text }).first().waitFor();
      const words = await page.locator('.words').allTextContents();
      assert.equal(words.filter((it) => it === text).length, 1, text);
    }
  }
}

const running = await chromium.launch(launchOptions());
try {
  const pages = [];
  for (const name of ['Ann', 'Ben', 'Mia']) pages.push(await come(running, name));
  await talk(pages, 'before');
  const before = sessions.length;
  console.log('talking');
  await createInterface({ input: process.stdin }).question('');
  await talk(pages, 'after');
  // The pages of the process that was killed go on at the other one.
  const again = sessions.slice(before);
  assert.ok(again.length > 0 && again.every((recovered) => recovered), String(again));
} finally {
  await running.close();
}
process.exit(0);
