// Does the chat example work in a browser?
//
// usage: node chat.mjs URL [FOLDER]
//
// Runs each scene in headless Chromium with the chat at URL, which has to allow 200 events per
// second, and prints its name to stderr. With a FOLDER, it saves screenshots there. It uses the npm
// packages of the interop tests. $CHROMIUM is the browser; default: from $PATH. `crowd.mjs` measures
// how long the frames of the page are.

import assert from 'node:assert/strict';
import * as http from 'node:http';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

import { EventSocket } from '../../ws-events/js/ws-events.js';
import { browser, launchOptions, NAMES } from '../../ws-client/tests/peers/browser.mjs';
import { pace } from './pace.mjs';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');
const WebSocket = peers('ws');
const axe = peers('axe-core');

/** The timeout of each step, in ms. */
const TIMEOUT = 20_000;

/** A TCP proxy between a page and the server, which can simulate failures. */
class Network {
  #pairs = new Set();
  #isCut = false;
  #server = createServer((near) => {
    if (this.#isCut) return void near.destroy();
    const far = connect(chat.port, chat.hostname);
    const pair = { near, far, isSilent: false, isWebSocket: false };
    near.on('data', (data) => (pair.isWebSocket ||= /^upgrade: websocket\r$/im.test(data)));
    this.#pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('data', (data) => pair.isSilent || to.write(data));
      from.on('error', () => {});
      from.on('close', () => {
        if (pair.isSilent) return;
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  });

  async open() {
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  /** Closes all connections, and rejects new ones. */
  cut() {
    this.#isCut = true;
    for (const { near, far } of this.#pairs) for (const end of [near, far]) end.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  /** Drops all data of open WebSocket connections, without closing them. Closes the other
   * connections: the browser keeps them for further requests, and a next page would wait on one. */
  silence() {
    for (const pair of this.#pairs) {
      pair.isSilent = pair.isWebSocket;
      if (!pair.isSilent) for (const end of [pair.near, pair.far]) end.destroy();
    }
  }

  close() {
    this.#server.close();
    this.cut();
  }
}

/** An HTTP proxy that breaks the opening handshake. `breakIt(request)` is the head of the request to
 * send, or the status of an answer. */
async function openBrokenProxy(breakIt) {
  const forward = (request, respond) => {
    const { method, url, headers, status } = breakIt(request);
    if (status) return respond(status, {}, 'no server here');
    const { hostname: host, port } = chat;
    const sent = http.request({ host, port, method, path: url, headers }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => respond(response.statusCode, response.headers, Buffer.concat(parts)));
    });
    request.pipe(sent);
  };
  const server = http.createServer((request, response) => {
    forward(request, (status, headers, body) => response.writeHead(status, headers).end(body));
  });
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {});
    forward(request, (status, _, body) => {
      socket.end(`HTTP/1.1 ${status} Refused\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, server };
}

/** Users without a browser, who send messages to #general at 1,000 per second in all. */
async function crowd(count) {
  const url = new URL('ws', chat);
  const speakers = Array.from({ length: 10 }, (_, number) => {
    url.searchParams.set('name', `Speaker ${number}`);
    return new EventSocket(`${url}`, { WebSocket });
  });
  const joined = speakers.map((speaker) => new Promise((resolve) => speaker.on('history', resolve)));
  for (const speaker of speakers) speaker.emit('join', { room: 'general' });
  await Promise.all(joined);
  await pace(count, (number) => {
    speakers[number % 10].emit('say', { to: 'general', text: `message ${number}`, key: `${number}` });
  });
  return speakers;
}

async function until(isTrue) {
  const end = Date.now() + 4 * TIMEOUT;
  while (!isTrue()) {
    assert.ok(Date.now() < end, `${isTrue}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A user with a browser. */
class Person {
  /** The frames that the page received. */
  frames = [];
  /** Unexpected console messages, errors, dialogs and requests. */
  problems = [];

  static async come(name, options = {}) {
    const person = new Person();
    await person.#come(name, options);
    return person;
  }

  async #come(name, options) {
    this.name = name;
    this.network = new Network();
    this.url = await this.network.open();
    this.context = await running.newContext({ viewport: { width: 1200, height: 760 }, ...options });
    this.context.setDefaultTimeout(TIMEOUT);
    this.page = await this.context.newPage();
    // Network failures are expected on the console.
    this.page.on('console', (it) => /ERR_|WebSocket/.test(it.text()) || this.problems.push(it.text()));
    this.page.on('pageerror', (error) => this.problems.push(String(error)));
    this.page.on('dialog', (it) => this.problems.push(it.message()));
    this.page.on('request', (it) => it.url().startsWith(this.url) || this.problems.push(it.url()));
    this.page.on('websocket', (it) => it.on('framereceived', ({ payload }) => this.frames.push(payload)));
    await this.page.goto(this.url);
    await this.signIn(name);
    await this.page.getByRole('heading', { name: '# general' }).waitFor();
    await this.page.locator('#about', { hasText: 'here' }).waitFor();
  }

  async signIn(name) {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.keyboard.press('Enter');
  }

  async write(text) {
    await this.page.getByLabel('Message', { exact: true }).fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** Sends a message, and waits until the server has confirmed it. */
  async say(text) {
    await this.write(text);
    await this.sees(`.said:not(.waiting, .failed) .words`, text.split('\n')[0]);
  }

  sees(place, text) {
    return this.page.locator(place, { hasText: text }).first().waitFor();
  }

  async seesNot(place, text) {
    await this.page.locator(place, { hasText: text }).first().waitFor({ state: 'hidden' });
  }

  /** The log follows to its end, which moves until the newest lines have their heights. */
  async isAtEnd() {
    await this.page.waitForFunction(() => {
      const log = document.querySelector('#log');
      return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
    });
  }

  /** How often the page got its session back. */
  recoveries() {
    return this.frames.filter((frame) => String(frame).includes('"recovered":true')).length;
  }

  /** The rules of accessibility that the page breaks, by axe. */
  async faults() {
    await this.page.evaluate(axe.source);
    const { violations } = await this.page.evaluate(() => window.axe.run());
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
  }

  /** The messages of the displayed place. */
  words() {
    return this.page.locator('.words').allTextContents();
  }

  async choose(list, name) {
    await this.page.locator(list).getByRole('button', { name }).click();
  }

  async picture(name) {
    if (!folder) return;
    await this.page.screenshot({ path: join(folder, `${name}.png`) });
  }

  async go() {
    assert.deepEqual(this.problems, [], this.name);
    await this.context.close();
    this.network.close();
  }
}

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

const scenes = {
  async all_users_see_messages_in_the_same_order(ann, ben, mia) {
    await ann.sees('.note', 'Ben and Mia joined');
    for (const person of [ann, ben, mia]) {
      await person.sees('#about', '3 people here');
      await person.say(`I am ${person.name}.`);
    }
    const all = ['I am Ann.', 'I am Ben.', 'I am Mia.'];
    for (const person of [ann, ben, mia]) {
      await person.sees('.words', all[2]);
      assert.deepEqual((await person.words()).slice(-3), all);
    }
  },

  async typing_is_shown_until_the_message_is_sent(ann, ben, mia) {
    const field = ann.page.getByLabel('Message', { exact: true });
    let isSeen = false;
    const seeing = Promise.all([ben, mia].map((it) => it.sees('#typing', 'Ann is typing…')));
    const seen = seeing.finally(() => (isSeen = true));
    // A notification is volatile and may be dropped, so this repeats it.
    while (!isSeen) await field.pressSequentially('m', { delay: 200 });
    await seen;
    assert.equal(await ann.page.locator('#typing').textContent(), '');
    await ann.say('Hm, yes');
    for (const person of [ben, mia]) await person.seesNot('#typing', 'Ann');
  },

  async a_private_message_is_sent_to_one_user(ann, ben, mia) {
    await ann.choose('#here', 'Ben');
    await ann.say('between us');
    await ben.sees('#directs .badge', '1 unread');
    await ben.choose('#directs', 'Ann');
    await ben.sees('.words', 'between us');
    await ben.say('just us');
    await ann.sees('.words', 'just us');
    // Mia receives a later message, so she would have received these.
    for (const person of [ann, ben]) await person.choose('#rooms', 'general');
    await ann.say('and back');
    await mia.sees('.words', 'and back');
    const heard = mia.frames.join('\n');
    assert.ok(heard.includes('and back') && !/between us|just us/.test(heard), heard);
    assert.ok(ben.frames.join('\n').includes('between us'));
  },

  async a_message_that_the_server_does_not_take_says_why(ann) {
    const before = await ann.page.evaluate(() => location.hash);
    await ann.page.evaluate(() => (location.hash = `@${'x'.repeat(25)}`));
    await ann.sees('#title', 'xxx');
    await ann.write('hello?');
    await ann.sees('.rejected .status', 'Not sent: a name has at most 24 characters.');
    await ann.picture('rejected');
    await ann.page.locator('#part').click();
    await ann.page.evaluate((hash) => (location.hash = hash), before);
  },

  async a_new_user_sees_the_history(ann) {
    const zoe = await Person.come('Zoe');
    await zoe.sees('.words', 'and back');
    assert.deepEqual(await zoe.words(), await ann.words());
    await ann.sees('.note', 'Zoe joined');
    await zoe.go();
    await ann.sees('.note', 'Zoe left');
    await ann.sees('#about', '3 people here');
  },

  async rooms_are_separate(ann, ben, mia) {
    await ann.page.getByLabel('Open a room').fill('Design Review');
    await ann.page.keyboard.press('Enter');
    await ann.sees('#title', '# design-review');
    await ann.say('the first word');
    await ben.choose('#rooms', 'design-review');
    await ben.sees('.words', 'the first word');
    await ann.choose('#rooms', 'general');
    await ben.say('the second word');
    await ann.sees('#rooms .badge', '1 unread');
    await ann.choose('#rooms', 'design-review');
    await ann.sees('.new', 'New');
    await ann.page.getByRole('button', { name: 'Leave' }).click();
    await ben.sees('.note', 'Ann left');
    await ben.choose('#rooms', 'general');
    await ben.say('again here');
    await mia.sees('.words', 'again here');
    assert.ok(!mia.frames.join('\n').includes('the second word'));
  },

  async after_a_reconnect_no_message_is_lost(ann, ben, mia) {
    await ann.context.setOffline(true);
    ann.network.cut();
    await ann.sees('#notice', 'Connection lost');
    await ann.sees('#me', 'Reconnecting…');
    await ann.picture('lost');
    await ben.sees('.note', 'Ann left');
    await ann.write('from the tunnel');
    await ann.sees('.waiting .status', 'Sending…');
    await ann.picture('waiting');
    await ben.say('one');
    await mia.say('two');
    ann.network.mend();
    await ann.context.setOffline(false);
    await ann.sees('.said:not(.waiting) .words', 'from the tunnel');
    await ann.sees('.new', 'New');
    await ann.sees('#me', 'Connected');
    assert.equal(ann.recoveries(), 1);
    assert.equal(await ann.page.locator('#notice').textContent(), '');
    for (const person of [ann, ben, mia]) {
      await person.sees('.words', 'from the tunnel');
      assert.deepEqual((await person.words()).slice(-3), ['one', 'two', 'from the tunnel']);
    }
    await ben.sees('#about', '3 people here');
  },

  async a_silent_connection_is_detected_and_the_name_is_kept(ann, ben) {
    ann.network.silence();
    await ann.write('into the void');
    await ben.say('meanwhile');
    // The browser reports a network change, and the page sends a heartbeat.
    await ann.context.setOffline(true);
    await ann.context.setOffline(false);
    await ann.sees('.said:not(.waiting) .words', 'into the void');
    await ann.sees('.words', 'meanwhile');
    assert.equal(ann.recoveries(), 2);
    await ben.sees('.words', 'into the void');
    await ben.sees('#about', '3 people here');
    assert.deepEqual((await ben.words()).slice(-2), ['meanwhile', 'into the void']);
  },

  async a_name_in_use_is_rejected(ann) {
    const context = await running.newContext();
    const page = await context.newPage();
    await page.goto(ann.url);
    for (const [name, why] of [['ANN', 'somebody else'], ['<Ann>', '1 to 24 characters']]) {
      await page.getByLabel('Your name').fill(name);
      await page.getByRole('button', { name: 'Join' }).click();
      await page.getByRole('alert').filter({ hasText: new RegExp(why, 'i') }).waitFor();
    }
    await page.getByLabel('Your name').fill('Anna');
    await page.getByRole('button', { name: 'Join' }).click();
    await ann.sees('#here', 'Anna');
    await context.close();
    await ann.sees('#about', '3 people here');
  },

  async markup_is_text_and_only_web_addresses_are_links(ann, ben) {
    const text = '<img src=x onerror=alert(1)> <b>b</b> javascript:alert(2) https://example.com/a?b=1.';
    await ann.say(text);
    await ben.sees('.words', text);
    assert.equal(await ben.page.locator('.words :is(img, b, script)').count(), 0);
    const links = await ben.page.locator('.words a').evaluateAll((all) => all.map((it) => it.href));
    assert.deepEqual(links, ['https://example.com/a?b=1']);
  },

  async a_reload_keeps_the_name_and_the_place(ann, ben) {
    await ann.page.getByRole('button', { name: 'Dark theme' }).click();
    await ann.page.reload();
    await ann.sees('#me', 'Connected');
    await ann.sees('#title', '# general');
    await ann.say('here again');
    await ben.sees('.words', 'here again');
    const dark = ann.page.getByRole('button', { name: 'Dark theme' });
    assert.equal(await dark.getAttribute('aria-pressed'), 'true');
    await dark.click();
  },

  async the_page_fits_a_phone(ann) {
    for (const colorScheme of ['light', 'dark']) {
      const leo = await Person.come('Leo', { ...PHONE, colorScheme });
      const width = () => leo.page.evaluate(() => document.documentElement.scrollWidth);
      assert.equal(await width(), 390);
      await leo.say(`A long word: ${'w'.repeat(200)}`);
      assert.equal(await width(), 390);
      await leo.picture(`phone-${colorScheme}`);
      await leo.page.getByRole('button', { name: 'Rooms and direct messages' }).click();
      await leo.choose('#rooms', 'random');
      await leo.page.getByRole('navigation').waitFor({ state: 'hidden' });
      await leo.sees('#title', '# random');
      await leo.page.getByRole('button', { name: 'Who is here' }).click();
      await leo.page.locator('#people').waitFor();
      await leo.page.keyboard.press('Escape');
      await leo.page.locator('#people').waitFor({ state: 'hidden' });
      await leo.go();
      await ann.sees('#about', '3 people here');
    }
  },

  async contrast_and_labels_are_accessible_in_both_themes(ann, ben) {
    await ann.choose('#here', 'Ben');
    await ann.write('hello');
    await ben.sees('#directs .badge', '1 unread');
    for (const colorScheme of ['light', 'dark']) {
      await ben.page.emulateMedia({ colorScheme });
      assert.deepEqual(await ben.page.evaluate(unreadable), []);
      await ben.picture(`desk-${colorScheme}`);
    }
    for (const role of ['button', 'textbox']) {
      assert.equal(await ben.page.getByRole(role, { name: /^$/ }).count(), 0, role);
    }
  },

  async axe_finds_no_fault(ann, ben) {
    for (const colorScheme of ['light', 'dark']) {
      await ben.page.emulateMedia({ colorScheme });
      for (const list of ['#directs', '#rooms']) {
        await ben.page.locator(list).getByRole('button').first().click();
        assert.deepEqual(await ben.faults(), []);
      }
    }
    const page = await ann.context.newPage();
    await page.goto(ann.url);
    await page.getByLabel('Your name').waitFor();
    assert.deepEqual(await ann.faults.call({ page }), []);
    await page.close();
    await ann.choose('#rooms', 'general');
    await ben.choose('#rooms', 'general');
  },

  async names_and_rooms_have_any_script(ann) {
    for (const [name, room, shown] of [
      ['प्रिया', 'हिन्दी बातचीत', 'हिन्दी-बातचीत'],
      ['ประวิทย์', 'ห้องแชท', 'ห้องแชท'],
      ['Jose\u0301', 'Cafe\u0301 👩🏽‍🚀', 'café-👩🏽‍🚀'],
    ]) {
      const user = await Person.come(name);
      await user.page.getByLabel('Open a room').fill(room);
      await user.page.keyboard.press('Enter');
      await user.sees('#title', `# ${shown}`);
      await user.sees('#about', 'Only you are here');
      await user.say('hello');
      await user.choose('#rooms', 'general');
      await user.say(`I am ${name}.`);
      await ann.sees('.by', name.normalize('NFC'));
      await user.picture(`name-${shown}`);
      await user.go();
      await ann.sees('#about', '3 people here');
    }
  },

  async a_user_who_is_cut_off_is_doubtful(ann, ben, mia) {
    // An idle connection for requests is there, as behind a reload.
    await mia.page.evaluate(() => fetch('/').then((response) => response.text()));
    mia.network.silence();
    await ann.sees('#here .doubtful', 'Mia');
    await mia.sees('#notice', 'does not answer');
    await mia.sees('#me', 'No answer…');
    await ann.picture('doubtful-seen');
    await mia.picture('doubtful');
    // Without an answer, the page connects again.
    await mia.sees('#me', 'Connected');
    await ann.seesNot('#here .doubtful', 'Mia');
    await ben.sees('#about', '3 people here');
  },

  async a_user_has_several_devices_and_is_away_with_all_of_them(ann, ben, mia) {
    // Another tab of the same browser.
    const tab = await mia.context.newPage();
    await tab.goto(mia.url);
    await tab.getByLabel('Your name').fill('Mia');
    await tab.keyboard.press('Enter');
    await tab.locator('#about', { hasText: '3 people here' }).waitFor();
    await ann.say('to both tabs');
    for (const page of [mia.page, tab]) await page.locator('.words', { hasText: 'to both tabs' }).first().waitFor();
    await tab.getByRole('button', { name: 'Away' }).click();
    await tab.locator('#me', { hasText: 'Away' }).waitFor();
    await ann.say('one of them is away');
    await ann.seesNot('#here .away', 'Mia');
    await mia.page.getByRole('button', { name: 'Away' }).click();
    await ann.sees('#here .away', 'Mia');
    await ann.picture('away-seen');
    await mia.picture('away');
    await mia.page.getByRole('button', { name: 'Away' }).click();
    await ann.seesNot('#here .away', 'Mia');
    await tab.close();
    await ben.sees('#about', '3 people here');
  },

  async behind_a_broken_proxy_the_page_says_what_the_server_says() {
    for (const [breakIt, said] of [
      [({ method, url, headers: { upgrade, connection, ...headers } }) => ({ method, url, headers }), /a proxy on the way may not pass on the headers “Upgrade”/],
      [({ method, url, headers }) => ({ method, url, headers: { ...headers, host: 'upstream' } }), /403.*`Origin`.*upstream/],
      [({ method, url, headers }) => (url.startsWith('/session?') ? { status: 502 } : { method, url, headers }), /The server says: 502 Bad Gateway/],
    ]) {
      const { url, server } = await openBrokenProxy(breakIt);
      const context = await running.newContext();
      const page = await context.newPage();
      await page.goto(url);
      await page.getByLabel('Your name').fill('Zoe');
      await page.getByRole('button', { name: 'Join' }).click();
      await page.getByRole('alert').filter({ hasText: said }).waitFor({ timeout: TIMEOUT });
      if (folder) await page.screenshot({ path: join(folder, `refused-${said.source.length}.png`) });
      await context.close();
      server.closeAllConnections();
      server.close();
    }
  },

  async the_page_follows_a_crowd(ann, ben) {
    const count = 2_000;
    const talking = crowd(count);
    await ann.sees('.words', 'message');
    // What is clicked is not replaced meanwhile.
    await ben.choose('#rooms', 'random');
    await ben.choose('#rooms', 'general');
    const speakers = await talking;
    const heard = (person) => person.frames.flatMap((frame) => frame.match(/"message \d+"/) ?? []);
    const all = [ann, ben].map((person) => until(() => heard(person).length >= count));
    await Promise.all(all);
    await ann.isAtEnd();
    await ann.picture('crowd');
    // The last two hundred, in the order in which they have arrived, which is that of all users.
    const last = heard(ann).slice(-200).map((text) => JSON.parse(text));
    await ann.sees('.words', new RegExp(`^${last.at(-1)}$`));
    assert.equal(new Set(heard(ann)).size, count);
    for (const person of [ann, ben]) assert.deepEqual((await person.words()).slice(-200), last);
    assert.ok(await ann.page.locator('#log li').count() < 220);
    for (const speaker of speakers) speaker.close();
    await ann.sees('#about', '3 people here');
  },

  async a_long_message_is_in_view_when_it_is_confirmed(ann, ben) {
    await ann.say(Array.from({ length: 12 }, (_, row) => `row ${row}`).join('\n'));
    await ann.isAtEnd();
    await ben.say('and more');
    await ann.sees('.words', 'and more');
    await ann.isAtEnd();
  },

  async what_is_read_stays_in_place(ann, ben) {
    const log = ann.page.locator('#log');
    // Lines that were never in view have estimated heights.
    await ann.choose('#rooms', 'random');
    await ann.choose('#rooms', 'general');
    await log.evaluate((log) => { log.scrollTop = 0; });
    await ben.say('read me later');
    const newest = ann.page.getByRole('button', { name: 'New messages' });
    await newest.waitFor();
    assert.ok(await log.evaluate((log) => log.scrollTop) < 100);
    await newest.click();
    await newest.waitFor({ state: 'hidden' });
    const left = await log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
    assert.ok(left < 2, `${left}`);
  },

  async a_user_who_signs_out_leaves(ann, ben, mia) {
    await mia.page.getByRole('button', { name: 'Sign out' }).click();
    await mia.page.getByLabel('Your name').waitFor();
    await ben.sees('.note', 'Mia left');
    await ben.sees('#about', '2 people here');
  },
};

/** Runs in the page: the texts with a contrast below 4.5, the minimum of WCAG 2 AA. */
function unreadable() {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([...color]) => {
    const [r, g, b] = color.slice(0, 3).map((it) => it / 255).map(
      (it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const color = rgba(getComputedStyle(element).backgroundColor);
    return color[3] === 255 || !element.parentElement ? color : ground(element.parentElement);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { textContent, parentElement: element } = texts.currentNode;
    const style = getComputedStyle(element);
    const isShown = textContent.trim() && element.checkVisibility({ opacityProperty: true });
    if (!isShown || element.closest('.unseen, noscript')) continue;
    const [one, other] = [light(rgba(style.color)), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(`${textContent.trim()}: ${contrast.toFixed(2)}`);
  }
  return found;
}

const executablePath = browser();
if (!executablePath) {
  console.error(`no ${NAMES[0]} in $PATH`);
  process.exit(1);
}
if (process.argv[2] === '--version') process.exit(0);

const chat = new URL(process.argv[2]);
const folder = process.argv[3];
const running = await chromium.launch(launchOptions());
try {
  const people = [];
  for (const name of ['Ann', 'Ben', 'Mia']) people.push(await Person.come(name));
  for (const [name, play] of Object.entries(scenes)) {
    console.error(name);
    await play(...people);
  }
  for (const person of people) await person.go();
} finally {
  await running.close();
}
