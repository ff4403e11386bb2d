// What is the state of the page, and how do events of the server and of the user change it?
//
// A place is a room, or `@` and the name of a user for private messages. The page is drawn from
// `places`, `rooms` and `here`, at most once per frame.

import { make } from './elements.js';
import * as log from './log.js';
import * as panels from './panels.js';
import { EventSocket } from './ws-events.js';

const $ = (id) => document.getElementById(id);

/** The interval of typing notifications, and how long they are shown, in ms. */
const TYPING_INTERVAL = 2_000;
const TYPING_TIMEOUT = 4_000;

/** The maximum number of lines of a place. */
const MAX_LINES = 200;

/** After which time without a look at the page its user is away, in ms. */
const AWAY = 5 * 60_000;

/** A page cannot send pings. Within 5 s, it knows that the server is silent. */
const HEARTBEAT = { event: 'beat', interval: 2_000, doubt: 2_500, timeout: 10_000 };

let me;
let socket;
/** The places that the user has joined, by id. */
const places = new Map();
/** The place that is displayed. */
let here;
/** All rooms of the server: name and number of users. */
let rooms = [];
/** Whether the server has sent an event on the current connection. */
let online = false;

// Connecting and disconnecting

function enter(name) {
  const before = socket;
  // With it, the tabs of this browser are devices of one user.
  if (!/(^|; )chat=/.test(document.cookie)) document.cookie = `chat=${key()}; path=/; samesite=strict; max-age=31536000`;
  me = name;
  log.begin(me, (person) => go(`@${person}`));
  const url = new URL('session', location.href);
  url.searchParams.set('name', me);
  const mine = new EventSocket(url, { heartbeat: HEARTBEAT, connectTimeout: 8_000, resume: true });
  socket = mine;
  before?.close();
  mine.on('connect', onConnect);
  mine.on('disconnect', onDisconnect);
  mine.on('close', ({ reason }) => mine === socket && onClose(reason));
  mine.onstatechange = onStateChange;
  for (const [event, handle] of Object.entries(events)) {
    mine.on(event, (data) => {
      onAccepted();
      handle(data);
    });
  }
}

/** Joins the rooms in which a recovered session is not already, and resends messages that the server has
 * not confirmed. The server recognizes those that it has. */
function onConnect({ recovered }) {
  if (isAway) send('away', true);
  for (const place of places.values()) {
    if (recovered && place.isKnown) continue;
    place.people = undefined;
    if (!place.person) send('join', { room: place.id });
  }
  for (const place of places.values()) {
    place.lines.filter((line) => line.status === 'waiting').forEach((line) => sendMessage(place, line, true));
  }
}

/** Sends an event. Without a connection, `onConnect` makes up for it. */
function send(event, data) {
  if (socket.state === 'open' || socket.state === 'doubtful') socket.emit(event, data);
}

/** An event of the server means that it has accepted the name. */
function onAccepted() {
  if (online) return;
  online = true;
  remember('name', me);
  $('welcome').hidden = true;
  if ($('chat').hidden) {
    $('chat').hidden = false;
    log.show(here);
    $('text').focus();
  }
  notify();
  redraw('me');
}

function onStateChange(state) {
  redraw('me');
  if (!online) return;
  if (state === 'doubtful') notify(make('span', {}, 'The server does not answer. The connection may be lost.'));
  else if (state === 'open') notify();
}

let countdown;

async function onDisconnect({ opened, retryAt }) {
  online = false;
  for (const place of places.values()) place.isAway = true;
  redraw('me');
  clearInterval(countdown);
  const left = make('span');
  const count = () => {
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    left.textContent = seconds > 1 ? ` Next try in ${seconds} s.` : ' Trying…';
  };
  const retry = make('button', { type: 'button', onclick: () => socket.reconnect() }, 'Try now');
  count();
  countdown = setInterval(count, 500);
  // A screen reader reads the notice once, without the countdown.
  left.ariaHidden = 'true';
  const why = opened ? '' : lastAnswer;
  $('refusal').textContent = why ? `${why} Trying again…` : 'The server does not respond. Trying again…';
  const text = why ? `No connection. ${why}` : 'Connection lost. Messages are sent after the reconnect.';
  notify(make('span', {}, text, left), retry);
  if (opened) lastAnswer = '';
  else await explain();
}

/** What the server has said about the last failed handshake, as a sentence. */
let lastAnswer = '';

/** Finds out why the opening handshake fails. The browser does not tell. */
async function explain() {
  const attempt = socket;
  const said = await ask().catch(() => '');
  if (attempt !== socket || online || said === lastAnswer) return;
  lastAnswer = said;
  if (!said) return;
  $('refusal').textContent = `${said} Trying again…`;
  $('notice').querySelector('span')?.firstChild.replaceWith(`No connection. ${said}`);
}

async function ask() {
  const { status, statusText, text } = await socket.explain();
  // The request without an upgrade is refused for this alone: over HTTP/2 with 405.
  if (status === 426 || status === 405) {
    return 'The server is there, but opening a WebSocket fails: a proxy on the way may not pass on the headers “Upgrade” and “Connection”.';
  }
  const about = text.trim() || statusText;
  return `The server says: ${status}${about ? ` ${about}` : ''}.`.replace(/\.\.$/, '.');
}

/** The end: the server refuses this user. */
function onClose(reason) {
  clearInterval(countdown);
  forget('name');
  online = false;
  $('chat').hidden = true;
  welcome(reason || 'The server has closed the connection.');
}

function welcome(reason = '') {
  $('welcome').hidden = false;
  $('refusal').textContent = reason;
  $('name').value = me ?? '';
  $('name').setAttribute('aria-invalid', reason !== '');
  $('name').focus();
}

// Events of the server

const events = {
  /** After what was missed. */
  rooms(all) {
    rooms = all;
    for (const place of places.values()) place.isAway = false;
    redraw('side');
  },

  /** The last messages of a room, when the user joins it. After a lost session, some are known. */
  history([id, latest]) {
    const place = places.get(id);
    if (!place) return;
    const isNew = place.isKnown;
    place.isKnown = true;
    const missed = latest.filter((said) => place.lines[find(place, said)]?.at !== said.at);
    for (const said of missed) receive(place, said, isNew);
    if (isNew) place.firstNew ??= missed.find((said) => said.from !== me);
    redraw('log', 'side');
  },

  here([id, people, doubtful, away]) {
    const place = places.get(id);
    if (!place) return;
    const [before, now] = [new Set(place.people ?? people), new Set(people)];
    place.people = people;
    place.doubtful = new Set(doubtful);
    place.away = new Set(away);
    for (const name of now) if (!before.has(name)) addNote(place, name, 'joined');
    for (const name of before) if (!now.has(name)) addNote(place, name, 'left');
    redraw('here', 'side');
  },

  said(said) {
    const isPrivate = said.to.startsWith('@');
    const id = isPrivate && said.from !== me ? `@${said.from}` : said.to;
    const place = places.get(id) ?? (isPrivate ? openPlace(id) : undefined);
    if (!place) return;
    place.typing.delete(said.from);
    if (place.isAway && said.from !== me && find(place, said) < 0) place.firstNew ??= said;
    receive(place, said, true);
    redraw('typing', 'side');
  },

  typing([to, name]) {
    // On another device.
    if (name === me) return;
    const place = places.get(to.startsWith('@') ? `@${name}` : to);
    if (!place) return;
    clearTimeout(place.typing.get(name));
    const fade = () => place.typing.delete(name) && redraw('typing');
    place.typing.set(name, setTimeout(fade, TYPING_TIMEOUT));
    redraw('typing');
  },

  /** The recipient of a private message is not connected. */
  absent(key) {
    fail(key, 'failed');
  },

  /** The server cannot store a message. */
  unsaid(key) {
    fail(key, 'unsaid');
  },

  /** The server does not take a message. */
  rejected([key, why]) {
    fail(key, 'rejected', why);
  },

  full(id) {
    refuse(id, 'there are too many rooms');
  },

  refused(id) {
    refuse(id, 'a room has 1 to 24 letters, digits, emoji and hyphens');
  },
};

function fail(key, status, why) {
  for (const place of places.values()) {
    const at = place.lines.findIndex((line) => line.key === key);
    if (at < 0) continue;
    place.lines[at] = { ...place.lines[at], status, why };
    redraw('log');
  }
}

function refuse(id, why) {
  closePlace(id);
  const close = make('button', { type: 'button', onclick: () => notify() }, 'OK');
  notify(make('span', {}, `Cannot open the room “${id}”: ${why}.`), close);
}

/** The sort key of a line. Unconfirmed messages come last. */
function rank(line) {
  return line.status === 'waiting' ? Infinity : line.at;
}

/** The index of the line of a message. */
function find(place, said) {
  return place.lines.findLastIndex((line) => line.key === said.key && line.from === said.from);
}

/** Adds a message of another user, or confirms one of this user. */
function receive(place, said, isNew) {
  place.last = Math.max(place.last, said.at);
  const known = find(place, said);
  if (known >= 0) {
    place.lines.splice(known, 1);
  } else if (isNew && said.from !== me && (place !== here || document.hidden)) {
    place.unread += 1;
    if (place.unread === 1) place.firstNew = said;
  }
  addLine(place, said);
}

/** Adds a note that a user joined or left. Merges it with the last note if possible. */
function addNote(place, name, did) {
  const last = place.lines.at(-1);
  const names = last?.names ?? [];
  if (last?.did === did) {
    if (!names.includes(name)) place.lines[place.lines.length - 1] = { ...last, names: [...names, name] };
  } else if (did === 'joined' && names.includes(name)) {
    place.lines.pop();
    const others = names.filter((other) => other !== name);
    if (others.length) place.lines.push({ ...last, names: others });
  } else {
    // The server's time, like the timestamps of messages.
    return addLine(place, { names: [name], did, at: place.last || Date.now() });
  }
  redraw('log');
}

/** Adds a line at its rank. The oldest line goes if there are too many. */
function addLine(place, line) {
  const before = place.lines.findLastIndex((other) => rank(other) <= rank(line));
  place.lines.splice(before + 1, 0, line);
  if (place.lines.length > MAX_LINES) {
    place.lines.shift();
    place.isTrimmed = true;
  }
  if (place === here) redraw('log');
}

// Actions of the user

/** Joins a room or starts a private conversation, unless it is open already. */
function openPlace(id) {
  let place = places.get(id);
  if (place) return place;
  const person = id.startsWith('@') ? id.slice(1) : undefined;
  place = { id, person, lines: [], last: 0, isKnown: false, isAway: false, people: undefined, doubtful: new Set(), away: new Set(), typing: new Map(), unread: 0, draft: '' };
  places.set(id, place);
  if (!person) send('join', { room: id });
  remember('places', JSON.stringify([...places.keys()]));
  return place;
}

function go(id) {
  if (here?.id !== id) {
    if (here) {
      here.draft = $('text').value;
      here.firstNew = undefined;
    }
    here = openPlace(id);
    history.replaceState(null, '', `#${encodeURIComponent(id)}`);
    // The columns depend on the place, and the height of the lines on the columns.
    parts.here();
    log.show(here);
    $('text').value = here.draft;
    resizeInput();
    markRead();
    redraw('me', 'side', 'here', 'typing');
    draw();
    document.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
  }
  for (const panel of document.querySelectorAll('.panel:popover-open')) panel.hidePopover();
  if (matchMedia('(hover: hover)').matches) $('text').focus();
}

function leave() {
  if (!here.person) send('leave', here.id);
  closePlace(here.id);
}

function closePlace(id) {
  places.delete(id);
  remember('places', JSON.stringify([...places.keys()]));
  if (here.id !== id) return redraw('side');
  here = undefined;
  go(places.keys().next().value ?? 'general');
}

function say(text) {
  const at = Math.max(Date.now(), here.last + 1);
  const line = { from: me, text, at, key: key(), status: 'waiting' };
  here.firstNew = undefined;
  log.follow();
  addLine(here, line);
  sendMessage(here, line);
}

function sendMessage(place, { text, key }, again = false) {
  send('say', { to: place.id, text, key, again });
}

/** A random key. `randomUUID` is not available without https. */
function key() {
  return [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join('');
}

function markRead() {
  if (document.hidden || !here) return;
  here.unread = 0;
  redraw('side');
}

// Drawing

/** How each part of the page is drawn. */
const parts = {
  log: () => log.draw(),
  side: () => panels.drawSide({ places, rooms, here, go }),
  here: () => panels.drawHere({ places, here, me, go }),
  me: () => panels.drawMe({ me, isAway, state: online ? socket.state : 'waiting' }),
  typing: drawTyping,
};

const changed = new Set();
let frame;
let timer;

/** Draws these parts with the next frame. A page in the background has none, but has a title. */
function redraw(...names) {
  for (const name of names) changed.add(name);
  frame ??= requestAnimationFrame(draw);
  timer ??= setTimeout(draw, 500);
}

function draw() {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  frame = timer = undefined;
  // With a place, there is always something in all of them.
  const names = here ? [...changed] : [];
  changed.clear();
  for (const name of names) parts[name]();
}

function drawTyping() {
  const names = [...here.typing.keys()];
  const subject = names.length > 2 ? 'Several people' : names.join(' and ');
  $('typing').textContent = names.length ? `${subject} ${names.length > 1 ? 'are' : 'is'} typing…` : '';
}

function notify(...what) {
  if (what.length === 0) clearInterval(countdown);
  $('notice').replaceChildren(...what);
}

// State that survives a reload of the tab

function remember(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Storage is disabled: the name is requested again after a reload.
  }
}

function recall(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function forget(name) {
  try {
    sessionStorage.removeItem(name);
  } catch {
    // Storage is disabled.
  }
}

// Event listeners

$('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('name').value.trim().normalize('NFC');
  $('refusal').textContent = '';
  if (name) begin(name);
});

$('open').addEventListener('submit', (event) => {
  event.preventDefault();
  const room = toRoomName($('room').value);
  $('room').value = '';
  if (room) go(room);
});

$('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  $('text').value = '';
  resizeInput();
  if (text) say(text);
  $('text').focus();
  lastTyped = 0;
});

$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('say').requestSubmit();
});

let lastTyped = 0;

$('text').addEventListener('input', () => {
  resizeInput();
  if (!$('text').value || Date.now() - lastTyped < TYPING_INTERVAL) return;
  lastTyped = Date.now();
  send('typing', here.id);
});

/** Grows the text field with its text, in browsers without `field-sizing`. */
function resizeInput() {
  if (CSS.supports('field-sizing', 'content')) return;
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight + 2}px`;
}

$('part').addEventListener('click', leave);
$('out').addEventListener('click', () => {
  const left = socket;
  socket = undefined;
  online = false;
  left.close();
  forget('name');
  forget('places');
  location.replace(location.pathname);
});
document.addEventListener('visibilitychange', markRead);

// Away: by the button, or if nobody looks for a while.
let isAway = false;
let leaving;

function setAway(next) {
  if (isAway === next) return;
  isAway = next;
  send('away', isAway);
  redraw('me');
}

$('away').addEventListener('click', () => setAway(!isAway));
document.addEventListener('visibilitychange', () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => setAway(true), AWAY);
  else setAway(false);
});
addEventListener('hashchange', () => here && go(placeInUrl() ?? 'general'));
// On wide screens, the panels are columns.
matchMedia('(max-width: 62rem)').addEventListener('change', () => here && go(here.id));

/** What is no letter with its marks, digit or emoji. The joiners are a part of some words and emoji. */
const NO_ROOM = /[^\p{L}\p{M}\p{N}\p{Extended_Pictographic}\p{Emoji_Modifier}\p{RI}\u200c\u200d]+/gu;

/** Converts a name to a valid room name. */
function toRoomName(name) {
  const plain = name.normalize('NFC').toLowerCase().replace(NO_ROOM, '-').replace(/^[-\u200c\u200d]+/, '');
  return [...plain].slice(0, 24).join('').replace(/[-\u200c\u200d]+$/, '');
}

/** The place in the fragment of the URL. */
function placeInUrl() {
  let id = '';
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    // Not valid percent-encoding.
  }
  return (/^@./.test(id) ? id : toRoomName(id)) || undefined;
}

function begin(name) {
  enter(name);
  for (const id of JSON.parse(recall('places') ?? '["general"]')) openPlace(id);
  go(placeInUrl() ?? places.keys().next().value);
}

const name = recall('name');
if (name) {
  $('chat').hidden = false;
  begin(name);
} else {
  welcome();
}
