// Does the page of the admin example work in a browser?
//
// usage: node admin.mjs PAGE TOKEN SERVER [FOLDER]
//
// Runs the scenes in headless Chromium, with users on SERVER. With a FOLDER, it saves screenshots
// there. It uses the npm packages of the interop tests. $CHROMIUM is the browser; default: from $PATH.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { browser, launchOptions } from '../../ws-client/tests/peers/browser.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');
const WebSocket = peers('ws');
const axe = peers('axe-core');

/** The timeout of each step, in ms. */
const TIMEOUT = 20_000;

const [page, token, server, folder] = process.argv.slice(2);
if (page === '--version') {
  if (!browser()) process.exit(1);
  console.log(browser());
  process.exit(0);
}

/** A user in a room, who says something now and then. */
async function user(room, everyMs) {
  const socket = new WebSocket(`${server}/ws?room=${encodeURIComponent(room)}`);
  const events = [];
  socket.on('message', (data) => events.push(JSON.parse(data)));
  const closed = new Promise((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.on('open', resolve));
  const talking = setInterval(() => {
    socket.send(JSON.stringify({ event: 'say', data: 'hello '.repeat(20) }));
  }, everyMs);
  closed.then(() => clearInterval(talking));
  return { socket, events, closed };
}

const running = await chromium.launch(launchOptions());
const users = [];

async function open(options, address) {
  const context = await running.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(TIMEOUT);
  const tab = await context.newPage();
  const faults = [];
  tab.on('pageerror', (error) => faults.push(String(error)));
  tab.on('dialog', (dialog) => faults.push(`a dialog: ${dialog.message()}`));
  await tab.goto(address);
  return { tab, context, faults };
}

/** Fails if axe finds a fault in accessibility. */
async function check(tab) {
  await tab.evaluate(axe.source);
  const { violations } = await tab.evaluate(() => window.axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html)}`), []);
}

async function save(tab, name) {
  if (folder) await tab.screenshot({ path: join(folder, `${name}.png`) });
}

const HOSTILE = '<img src=x onerror="alert(1)">';

const scenes = {
  async 'a wrong token is refused, and the right one is not in the address afterwards'() {
    const { tab, context, faults } = await open({}, page);
    await tab.fill('#token', 'guessed');
    await tab.click('#login button');
    await tab.waitForFunction(() => document.querySelector('#refused').textContent !== '');
    await save(tab, 'login');
    await check(tab);
    await tab.fill('#token', token);
    await tab.click('#login button');
    await tab.waitForSelector('main:not([hidden])');
    await context.close();
    const again = await open({}, `${page}#${token}`);
    await again.tab.waitForSelector('main:not([hidden])');
    assert.equal(again.tab.url(), page);
    // The cookie outlives the token in the address.
    await again.tab.reload();
    await again.tab.waitForSelector('main:not([hidden])');
    await again.context.close();
    assert.deepEqual([...faults, ...again.faults], []);
  },

  async 'names of peers are shown as text'() {
    const hostile = await user(HOSTILE, 100_000);
    users.push(hostile);
    const { tab, context, faults } = await open({}, `${page}#${token}`);
    await tab.waitForFunction((name) => document.querySelector('#rooms').textContent.includes(name), HOSTILE);
    assert.equal(await tab.locator('#rooms img, #sockets img').count(), 0);
    await context.close();
    assert.deepEqual(faults, []);
  },

  async 'a socket gets a message, and is disconnected with a reason'() {
    const victim = await user('victims', 100);
    const { tab, context, faults } = await open({}, `${page}#${token}`);
    const row = tab.locator('#sockets tbody tr', { hasText: 'victims' });
    await row.locator('.message').click();
    await tab.fill('#text', 'maintenance at noon');
    await save(tab, 'dialog');
    await check(tab);
    await tab.click('#message button[value=send]');
    await tab.waitForFunction(() => document.querySelector('#outcome').textContent.includes('queue'));
    await row.locator('.disconnect').click();
    await tab.keyboard.press('Escape');
    assert.equal(victim.socket.readyState, WebSocket.OPEN);
    await row.locator('.disconnect').click();
    await tab.fill('#reason', 'no shouting');
    await tab.keyboard.press('Enter');
    assert.deepEqual(await victim.closed, { code: 1008, reason: 'no shouting' });
    assert.ok(victim.events.some(({ event, data }) => event === 'notice' && data === 'maintenance at noon'));
    await row.waitFor({ state: 'detached' });
    await context.close();
    assert.deepEqual(faults, []);
  },

  async 'the page fits a desk and a phone, light and dark'() {
    for (const [room, pause] of [['lobby', 100], ['lobby', 250], ['red', 500], ['blue', 1000], ['blue', 40]]) {
      users.push(await user(room, pause));
    }
    // It reads nothing.
    const slow = await user('lobby', 100_000);
    slow.socket.pause();
    users.push(slow);
    for (const colorScheme of ['light', 'dark']) {
      for (const [name, viewport] of [
        ['desk', { width: 1280, height: 800 }],
        ['phone', { width: 390, height: 844 }],
      ]) {
        const { tab, context, faults } = await open({ colorScheme, viewport }, `${page}#${token}`);
        await tab.waitForFunction(() => document.querySelector('td.in')?.textContent.includes('·'));
        await save(tab, `${name}-${colorScheme}`);
        await check(tab);
        const [shown, has] = await tab.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
        assert.ok(has <= shown, `${name}: ${has} of ${shown}`);
        await context.close();
        assert.deepEqual(faults, []);
      }
    }
  },
};

try {
  for (const [name, scene] of Object.entries(scenes)) {
    console.error(name);
    await scene();
  }
} finally {
  for (const { socket } of users) socket.terminate();
  await running.close();
}
