// How long is the longest frame of the chat page in a crowd?
//
// usage: node crowd.mjs URL [MESSAGES]
//
// Ten users say 10,000 messages at 1,000 per second to the chat at URL, which has to allow 200
// events per second (`chat --rate 200`). One page in headless Chromium displays them. The program
// prints the longest frame, and fails if it exceeds 100 ms. The server, the users and the browser
// share the machine, so measure on one that is idle. It uses the npm packages of the interop tests.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { browser, launchOptions } from '../../ws-client/tests/peers/browser.mjs';
import { pace } from './pace.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');
const WebSocket = peers('ws');

const USERS = 10;
const LONGEST = 100;

const chat = process.argv[2];
const count = Number(process.argv[3] ?? 10_000);
assert.ok(browser(), 'no Chromium in $PATH');

/** A user in the room `general`, who reads nothing but the history. */
async function speaker(number) {
  const url = new URL('ws', chat);
  url.searchParams.set('name', `Speaker ${number}`);
  const socket = new WebSocket(url);
  const send = (event, data) => socket.send(JSON.stringify({ event, data }));
  await new Promise((resolve) => socket.once('open', resolve));
  send('join', { room: 'general' });
  await new Promise((resolve) => socket.on('message', (text) => {
    if (JSON.parse(text).event === 'history') resolve();
  }));
  socket.removeAllListeners('message');
  return { socket, say: (number) => send('say', { to: 'general', text: `message ${number}`, key: `${number}` }) };
}

/** Runs in the page: measures the time between frames, and the tasks of the page above 50 ms. */
function watch() {
  window.frames_ = { count: 0, longest: 0, task: 0 };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) window.frames_.task = Math.max(window.frames_.task, duration);
  }).observe({ type: 'longtask' });
  let last = performance.now();
  const frame = (now) => {
    window.frames_.count += 1;
    window.frames_.longest = Math.max(window.frames_.longest, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

const running = await chromium.launch(launchOptions());
try {
  const page = await running.newPage();
  await page.goto(chat);
  await page.getByLabel('Your name').fill('Ann');
  await page.getByRole('button', { name: 'Join' }).click();
  const speakers = await Promise.all(Array.from({ length: USERS }, (_, number) => speaker(number)));
  await page.getByText(`${USERS + 1} people here`).first().waitFor({ state: 'attached' });
  await page.evaluate(watch);
  const began = performance.now();
  await pace(count, (number) => speakers[number % USERS].say(number));
  await page.locator('.words').filter({ hasText: new RegExp(`^message ${count - 1}$`) }).waitFor({ state: 'attached' });
  const { longest, count: frames, task } = await page.evaluate(() => window.frames_);
  console.log(`${count} messages in ${((performance.now() - began) / 1000).toFixed(1)} s: ${frames} frames, `
    + `the longest ${longest.toFixed(0)} ms; the longest task ${task ? `${task.toFixed(0)} ms` : 'below 50 ms'}`);
  for (const { socket } of speakers) socket.terminate();
  assert.ok(longest <= LONGEST, `a frame of ${longest.toFixed(0)} ms; at most ${LONGEST} ms`);
} finally {
  await running.close();
}
