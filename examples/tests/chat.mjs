// Does the chat work in a browser?
//
// usage: node chat.mjs URL [FOLDER]
//
// Plays each scene in headless Chromium with the chat at URL, and says on stderr at which
// it is. With a FOLDER, it leaves pictures there. It stands on what the interop tests have
// installed. $CHROMIUM says which browser, if not the one in $PATH.

import assert from 'node:assert/strict';
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';

const peers = createRequire(new URL('../../ws-client/tests/peers/package.json', import.meta.url));
const { chromium } = peers('playwright-core');

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** How long a page may take for anything. */
const PATIENCE = 20_000;

function browser() {
  const folders = process.env.PATH.split(delimiter);
  const paths = [
    process.env.CHROMIUM,
    ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))),
  ];
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The way from a page to the server, which can be lost. */
class Network {
  #pairs = new Set();
  #isCut = false;
  #server = createServer((near) => {
    if (this.#isCut) return void near.destroy();
    const far = connect(chat.port, chat.hostname);
    const pair = { near, far, isSilent: false };
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

  /** Whatever is open breaks, and nothing can be opened. */
  cut() {
    this.#isCut = true;
    for (const { near, far } of this.#pairs) for (const end of [near, far]) end.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  /** What is open carries nothing any more, and neither end is told. */
  silence() {
    for (const pair of this.#pairs) pair.isSilent = true;
  }

  close() {
    this.#server.close();
    this.cut();
  }
}

/** Somebody with a browser. */
class Person {
  /** What the server has sent to the page. */
  frames = [];
  /** What must not happen. */
  wrongs = [];

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
    this.context.setDefaultTimeout(PATIENCE);
    this.page = await this.context.newPage();
    // That there is no network is told there, too.
    this.page.on('console', (it) => /ERR_|WebSocket/.test(it.text()) || this.wrongs.push(it.text()));
    this.page.on('pageerror', (error) => this.wrongs.push(String(error)));
    this.page.on('dialog', (it) => this.wrongs.push(it.message()));
    this.page.on('request', (it) => it.url().startsWith(this.url) || this.wrongs.push(it.url()));
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

  /** Says something, and knows that all have heard it. */
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

  /** All that was said in the place that is shown. */
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
    assert.deepEqual(this.wrongs, [], this.name);
    await this.context.close();
    this.network.close();
  }
}

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };

const scenes = {
  async all_hear_the_same_in_one_order(ann, ben, mia) {
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

  async typing_is_seen_until_it_is_said(ann, ben, mia) {
    const field = ann.page.getByLabel('Message', { exact: true });
    let isSeen = false;
    const seeing = Promise.all([ben, mia].map((it) => it.sees('#typing', 'Ann is typing…')));
    const seen = seeing.finally(() => (isSeen = true));
    // One note may be lost: it is volatile.
    while (!isSeen) await field.pressSequentially('m', { delay: 200 });
    await seen;
    assert.equal(await ann.page.locator('#typing').textContent(), '');
    await ann.say('Hm, yes');
    for (const person of [ben, mia]) await person.seesNot('#typing', 'Ann');
  },

  async a_private_message_is_seen_by_one_alone(ann, ben, mia) {
    await ann.choose('#here', 'Ben');
    await ann.say('between us');
    await ben.sees('#directs .badge', '1 unread');
    await ben.choose('#directs', 'Ann');
    await ben.sees('.words', 'between us');
    await ben.say('just us');
    await ann.sees('.words', 'just us');
    // Mia has what comes behind it, and so would have it.
    for (const person of [ann, ben]) await person.choose('#rooms', 'general');
    await ann.say('and back');
    await mia.sees('.words', 'and back');
    const heard = mia.frames.join('\n');
    assert.ok(heard.includes('and back') && !/between us|just us/.test(heard), heard);
    assert.ok(ben.frames.join('\n').includes('between us'));
  },

  async who_comes_later_reads_what_was_said(ann) {
    const zoe = await Person.come('Zoe');
    await zoe.sees('.words', 'and back');
    assert.deepEqual(await zoe.words(), await ann.words());
    await ann.sees('.note', 'Zoe joined');
    await zoe.go();
    await ann.sees('.note', 'Zoe left');
    await ann.sees('#about', '3 people here');
  },

  async rooms_are_apart(ann, ben, mia) {
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

  async who_was_away_misses_nothing_and_loses_nothing(ann, ben, mia) {
    await ann.context.setOffline(true);
    ann.network.cut();
    await ann.sees('#notice', 'Connection lost');
    await ann.sees('#me', 'Reconnecting…');
    await ann.picture('lost');
    await ben.sees('.note', 'Ann left');
    await ann.write('from the tunnel');
    await ann.sees('.waiting .fate', 'Sending…');
    await ann.picture('waiting');
    await ben.say('one');
    await mia.say('two');
    ann.network.mend();
    await ann.context.setOffline(false);
    await ann.sees('.said:not(.waiting) .words', 'from the tunnel');
    await ann.sees('.new', 'New');
    await ann.sees('#me', 'Connected');
    assert.equal(await ann.page.locator('#notice').textContent(), '');
    for (const person of [ann, ben, mia]) {
      await person.sees('.words', 'from the tunnel');
      assert.deepEqual((await person.words()).slice(-3), ['one', 'two', 'from the tunnel']);
    }
    await ben.sees('#about', '3 people here');
  },

  async a_network_that_says_nothing_is_noticed_and_the_name_is_kept(ann, ben) {
    ann.network.silence();
    await ann.write('into the void');
    await ben.say('meanwhile');
    // The browser has its doubts, and the page asks.
    await ann.context.setOffline(true);
    await ann.context.setOffline(false);
    await ann.sees('.said:not(.waiting) .words', 'into the void');
    await ann.sees('.words', 'meanwhile');
    await ben.sees('.words', 'into the void');
    await ben.sees('#about', '3 people here');
    assert.deepEqual((await ben.words()).slice(-2), ['meanwhile', 'into the void']);
  },

  async a_name_that_is_taken_is_refused_and_another_is_not(ann) {
    const context = await running.newContext();
    const page = await context.newPage();
    await page.goto(ann.url);
    for (const [name, why] of [['ANN', 'somebody else'], ['<Ann>', '1 to 24 letters']]) {
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

  async a_page_that_is_loaded_again_is_who_and_where_it_was(ann, ben) {
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

  async it_fits_a_phone(ann) {
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

  async it_can_be_read_and_named_in_both_themes(ann, ben) {
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

  async who_goes_is_gone(ann, ben, mia) {
    await mia.page.getByRole('button', { name: 'Sign out' }).click();
    await mia.page.getByLabel('Your name').waitFor();
    await ben.sees('.note', 'Mia left');
    await ben.sees('#about', '2 people here');
  },
};

/** Runs in the page: the texts whose contrast is below 4.5, as WCAG 2 AA wants it. */
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
// Without these, it looks for its maker's servers, and starts nothing as root.
const running = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox',
    '--no-proxy-server',
    '--no-first-run',
    '--disable-gpu',
    '--disable-quic',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
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
