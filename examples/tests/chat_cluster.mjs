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

async function come(running, name) {
  const context = await running.newContext();
  context.setDefaultTimeout(TIMEOUT);
  const page = await context.newPage();
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
  console.log('talking');
  await createInterface({ input: process.stdin }).question('');
  await talk(pages, 'after');
} finally {
  await running.close();
}
process.exit(0);
