// Does the official Socket.IO client work in a browser, with its default options?
//
// usage: node socketio_chat.mjs URL
//
// Two pages of the example socketio_chat talk in headless Chromium, and with a plain WebSocket of
// node. It uses the npm packages of the interop tests. $CHROMIUM is the browser; default: from $PATH.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { browser, launchOptions, NAMES } from '../../ws-client/tests/peers/browser.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');
const WebSocket = peers('ws');
const axe = peers('axe-core');

if (!browser()) throw new Error(`none of ${NAMES} is in $PATH`);
if (process.argv[2] === '--version') process.exit(0);

const url = process.argv[2];
const running = await chromium.launch(launchOptions());
try {
  const enter = async (name) => {
    const page = await running.newPage();
    const transports = [];
    page.on('request', (request) => {
      if (request.url().includes('transport=polling')) transports.push('polling');
    });
    page.on('websocket', () => transports.push('websocket'));
    page.on('pageerror', (error) => assert.fail(error));
    await page.goto(url);
    await page.fill('#name', name);
    await page.click('#name-form button');
    await page.waitForSelector('#say-form:not([hidden])');
    await page.waitForFunction(() => document.querySelector('#status').textContent === 'online by websocket');
    // Polling came first.
    assert.equal(transports[0], 'polling');
    assert.ok(transports.includes('websocket'));
    return page;
  };
  const line = (page, text) => page.waitForFunction(
    (text) => [...document.querySelectorAll('#log li')].some((line) => line.textContent === text),
    text,
  );
  /** A phone shows all of the page, in both themes, and axe finds no fault. */
  const fits = async (page) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.evaluate(axe.source);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const [width, faults] = await page.evaluate(async () => {
        const { violations } = await window.axe.run();
        return [document.documentElement.scrollWidth, violations.map(({ id, help }) => `${id}: ${help}`)];
      });
      assert.deepEqual([width, faults], [390, []]);
    }
    // The field is in view, however many messages there are.
    const field = await page.locator('#text').boundingBox();
    assert.ok(field.y + field.height <= 844);
  };
  const ann = await enter('ann');
  const bob = await enter('bob');
  await line(ann, 'bob has entered');

  // A plain WebSocket in the same room.
  const plain = new WebSocket(`${url.replace('http', 'ws')}/ws?name=cid`);
  const received = [];
  const waiting = [];
  plain.on('message', (data) => {
    const message = JSON.parse(data);
    const index = waiting.findIndex(({ fits }) => fits(message));
    if (index >= 0) waiting.splice(index, 1)[0].resolve(message);
    else received.push(message);
  });
  const next = (fits) => {
    const index = received.findIndex(fits);
    if (index >= 0) return received.splice(index, 1)[0];
    return new Promise((resolve) => waiting.push({ fits, resolve }));
  };
  await new Promise((resolve) => plain.once('open', resolve));
  await line(bob, 'cid has entered');

  // Markup is shown as text. The acknowledgement has the number of recipients.
  await ann.fill('#text', '<b>hello</b>');
  await ann.click('#say-form button');
  await line(bob, 'ann: <b>hello</b>');
  await line(ann, 'sent to 3');
  assert.deepEqual((await next(({ event }) => event === 'said')).data, { from: 'ann', text: '<b>hello</b>' });
  plain.send(JSON.stringify({ event: 'say', data: 'hi', id: 7 }));
  assert.equal((await next(({ ack }) => ack === 7)).data, 3);
  await line(ann, 'cid: hi');
  await line(bob, 'cid: hi');
  // The longest message that the page lets through.
  for (const text of ['é'.repeat(1000), '😀'.repeat(500)]) {
    await ann.fill('#text', text);
    await ann.click('#say-form button');
    await line(bob, `ann: ${text}`);
  }
  await fits(ann);
  await bob.close();
  await line(ann, 'bob has left');

  // A refusal has its message.
  const nameless = await running.newPage();
  await nameless.goto(url);
  await nameless.evaluate(() => {
    const name = document.querySelector('#name');
    name.removeAttribute('maxlength');
    name.value = 'x'.repeat(25);
  });
  await nameless.click('#name-form button');
  await line(nameless, 'a name has 1 to 24 characters');
  plain.close();
} finally {
  await running.close();
}
