// What is the state of the page, and how do events of the server and of the user change it?
//
// A place is a room, or `@` and the name of a user for private messages. The page is drawn from
// `places`, `rooms` and `here`.

import { connect } from './connection.js';
import { make } from './elements.js';
import * as log from './log.js';
import * as panels from './panels.js';

const $ = (id) => document.getElementById(id);

/** The interval of typing notifications, and how long they are shown, in ms. */
const TYPING_INTERVAL = 2_000;
const TYPING_TIMEOUT = 4_000;

/** The maximum number of lines of a place. */
const MAX_LINES = 500;

let me;
let connection;
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
  connection?.close();
  me = name;
  log.begin(me, (person) => go(`@${person}`));
  const url = new URL('ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.searchParams.set('name', me);
  connection = connect(url, { onOpen, onEvent, onDisconnect, onRejected });
}

/** Joins the rooms again, and resends messages that the server has not confirmed. */
function onOpen() {
  for (const place of places.values()) {
    place.people = undefined;
    if (!place.person) connection.send('join', { room: place.id, after: place.last });
  }
  for (const place of places.values()) {
    place.lines.filter((line) => line.status === 'waiting').forEach((line) => sendMessage(place, line));
  }
}

function onEvent(event, data) {
  if (!online) {
    online = true;
    remember('name', me);
    $('welcome').hidden = true;
    if ($('chat').hidden) {
      $('chat').hidden = false;
      log.show(here);
      $('text').focus();
    }
    notify();
    drawMe();
  }
  events[event]?.(data);
}

let countdown;

function onDisconnect(when) {
  online = false;
  drawMe();
  clearInterval(countdown);
  const left = make('span');
  const count = () => {
    const seconds = Math.ceil((when - Date.now()) / 1000);
    left.textContent = seconds > 1 ? ` Next try in ${seconds} s.` : ' Trying…';
  };
  const retry = make('button', { type: 'button', onclick: () => connection.retry() }, 'Try now');
  count();
  countdown = setInterval(count, 500);
  // A screen reader reads the notice once, without the countdown.
  left.ariaHidden = 'true';
  $('refusal').textContent = 'The server does not respond. Trying again…';
  notify(make('span', {}, 'Connection lost. Messages are sent after the reconnect.', left), retry);
}

function onRejected(reason) {
  clearInterval(countdown);
  forget('name');
  online = false;
  $('chat').hidden = true;
  welcome(reason);
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
  rooms(all) {
    rooms = all;
    drawSide();
  },

  /** The messages of a room before the user joined, or while disconnected. */
  history([id, missed]) {
    const place = places.get(id);
    if (!place) return;
    const isNew = place.isKnown;
    place.isKnown = true;
    for (const said of missed) receive(place, said, isNew);
    if (isNew) place.firstNew ??= missed.find((said) => said.from !== me);
    place.lines.sort((one, other) => rank(one) - rank(other));
    if (place === here) log.redraw();
    drawSide();
  },

  here([id, people]) {
    const place = places.get(id);
    if (!place) return;
    const before = place.people ?? people;
    place.people = people;
    for (const name of people) if (!before.includes(name)) addNote(place, name, 'joined');
    for (const name of before) if (!people.includes(name)) addNote(place, name, 'left');
    if (place === here) drawHere();
    drawSide();
  },

  said(said) {
    const isPrivate = said.to.startsWith('@');
    const id = isPrivate && said.from !== me ? `@${said.from}` : said.to;
    const place = places.get(id) ?? (isPrivate ? openPlace(id) : undefined);
    if (!place) return;
    place.typing.delete(said.from);
    receive(place, said, true);
    if (place === here) drawTyping();
    drawSide();
  },

  typing([to, name]) {
    const place = places.get(to.startsWith('@') ? `@${name}` : to);
    if (!place) return;
    clearTimeout(place.typing.get(name));
    const fade = () => place.typing.delete(name) && drawTyping();
    place.typing.set(name, setTimeout(fade, TYPING_TIMEOUT));
    drawTyping();
  },

  /** The recipient of a private message is not connected. */
  absent(key) {
    for (const place of places.values()) {
      const line = place.lines.find((line) => line.key === key);
      if (!line) continue;
      line.status = 'failed';
      if (place === here) log.update(line);
    }
  },

  full(id) {
    closePlace(id);
    const close = make('button', { type: 'button', onclick: () => notify() }, 'OK');
    notify(make('span', {}, `Cannot open the room “${id}”: too many rooms.`), close);
  },
};

/** The sort key of a line. Unconfirmed messages come last. */
function rank(line) {
  return line.status === 'waiting' ? Infinity : line.at;
}

/** Adds a message of another user, or confirms one of this user. */
function receive(place, said, isNew) {
  place.last = Math.max(place.last, said.at);
  const known = place.lines.find((line) => line.key === said.key && line.from === said.from);
  if (known) {
    Object.assign(known, said, { status: undefined });
    if (place.lines.at(-1) !== known) {
      place.lines.sort((one, other) => rank(one) - rank(other));
      if (place === here) log.redraw();
    } else if (place === here) {
      log.update(known);
    }
    return;
  }
  if (isNew && said.from !== me && (place !== here || document.hidden)) {
    place.unread += 1;
    if (place.unread === 1) place.firstNew = said;
  }
  addLine(place, said);
}

/** Adds a note that a user joined or left. Merges it with the last note if possible. */
function addNote(place, name, did) {
  const last = place.lines.at(-1);
  // The server's time, like the timestamps of messages.
  const line = { names: [name], did, at: place.last || Date.now() };
  if (!last?.names) return addLine(place, line);
  if (last.did === did) {
    if (!last.names.includes(name)) last.names.push(name);
  } else if (did === 'joined' && last.names.includes(name)) {
    last.names = last.names.filter((other) => other !== name);
    if (last.names.length === 0) place.lines.pop();
  } else {
    return addLine(place, line);
  }
  if (place === here) log.redraw();
}

function addLine(place, line) {
  place.lines.push(line);
  if (place.lines.length > MAX_LINES) place.lines.shift();
  if (place === here) log.append();
}

// Actions of the user

/** Joins a room or starts a private conversation, unless it is open already. */
function openPlace(id) {
  let place = places.get(id);
  if (place) return place;
  const person = id.startsWith('@') ? id.slice(1) : undefined;
  place = { id, person, lines: [], last: 0, isKnown: false, people: undefined, typing: new Map(), unread: 0, draft: '' };
  places.set(id, place);
  if (!person) connection.send('join', { room: id, after: 0 });
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
    log.show(here);
    $('text').value = here.draft;
    resizeInput();
    markRead();
    drawHere();
    drawTyping();
    document.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
  }
  for (const panel of document.querySelectorAll('.panel:popover-open')) panel.hidePopover();
  if (matchMedia('(hover: hover)').matches) $('text').focus();
}

function leave() {
  if (!here.person) connection.send('leave', here.id);
  closePlace(here.id);
}

function closePlace(id) {
  places.delete(id);
  remember('places', JSON.stringify([...places.keys()]));
  if (here.id !== id) return drawSide();
  here = undefined;
  go(places.keys().next().value ?? 'general');
}

function say(text) {
  const at = Math.max(Date.now(), here.last + 1);
  const line = { from: me, text, at, key: key(), status: 'waiting' };
  here.firstNew = undefined;
  addLine(here, line);
  sendMessage(here, line);
}

function sendMessage(place, { text, key }) {
  connection.send('say', { to: place.id, text, key });
}

/** A random key. `randomUUID` is not available without https. */
function key() {
  return [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join('');
}

function markRead() {
  if (document.hidden || !here) return;
  here.unread = 0;
  drawSide();
}

// Drawing

function drawSide() {
  panels.drawSide({ places, rooms, here, go });
}

function drawHere() {
  panels.drawHere({ places, here, me, go });
}

function drawMe() {
  panels.drawMe({ me, online });
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
  const name = $('name').value.trim();
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
  connection.send('typing', here.id);
});

/** Grows the text field with its text, in browsers without `field-sizing`. */
function resizeInput() {
  if (CSS.supports('field-sizing', 'content')) return;
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight + 2}px`;
}

$('part').addEventListener('click', leave);
$('out').addEventListener('click', () => {
  connection.close();
  forget('name');
  forget('places');
  location.replace(location.pathname);
});
document.addEventListener('visibilitychange', markRead);
addEventListener('hashchange', () => here && go(placeInUrl() ?? 'general'));
// On wide screens, the panels are columns.
matchMedia('(max-width: 62rem)').addEventListener('change', () => here && go(here.id));

/** Converts a name to a valid room name. */
function toRoomName(name) {
  const plain = name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-/, '');
  return [...plain].slice(0, 24).join('').replace(/-$/, '');
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
  drawMe();
} else {
  welcome();
}
