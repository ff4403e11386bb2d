// What does the page know, and what does it do when something happens?
//
// A place is a room, or `@` and the name of somebody one writes to in private. The server
// tells what happens; what is shown follows from `places`, `rooms` and `here`.

import { connect } from './connection.js';
import { make } from './elements.js';
import * as log from './log.js';
import * as panels from './panels.js';

const $ = (id) => document.getElementById(id);

/** How often others are told that one types, and how long they show it. */
const TYPING = 2_000;
const FADES = 4_000;

/** More lines than this, and the oldest go. */
const LINES = 500;

let me;
let connection;
/** All places that one is in, by id. */
const places = new Map();
/** The place that is shown. */
let here;
/** All rooms there are: name, and how many are in it. */
let rooms = [];
/** Is the server heard? */
let online = false;

// Coming and going

function enter(name) {
  connection?.close();
  me = name;
  log.begin(me, (person) => go(`@${person}`));
  const url = new URL('ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.searchParams.set('name', me);
  connection = connect(url, { opened, heard, lost, refused });
}

/** What is asked for here is asked again whenever the connection is a new one. */
function opened() {
  for (const place of places.values()) {
    place.people = undefined;
    if (!place.person) connection.send('join', { room: place.id, after: place.last });
  }
  for (const place of places.values()) {
    place.lines.filter((line) => line.fate === 'waiting').forEach((line) => utter(place, line));
  }
}

function heard(event, data) {
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

let counting;

function lost(when) {
  online = false;
  drawMe();
  clearInterval(counting);
  const left = make('span');
  const count = () => {
    const seconds = Math.ceil((when - Date.now()) / 1000);
    left.textContent = seconds > 1 ? ` Next try in ${seconds} s.` : ' Trying…';
  };
  const retry = make('button', { type: 'button', onclick: () => connection.retry() }, 'Try now');
  count();
  counting = setInterval(count, 500);
  // The count is for the eyes: once is enough for the ears.
  left.ariaHidden = 'true';
  $('refusal').textContent = 'The server does not answer. Trying again…';
  notify(make('span', {}, 'Connection lost. What you write is sent when it is back.', left), retry);
}

function refused(reason) {
  clearInterval(counting);
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

// What the server says

const events = {
  rooms(all) {
    rooms = all;
    drawSide();
  },

  /** What was said before we came, or while we were away. */
  history([id, missed]) {
    const place = places.get(id);
    if (!place) return;
    const isNews = place.isKnown;
    place.isKnown = true;
    for (const said of missed) take(place, said, isNews);
    if (isNews) place.firstNew ??= missed.find((said) => said.from !== me);
    place.lines.sort((one, other) => rank(one) - rank(other));
    if (place === here) log.redraw();
    drawSide();
  },

  here([id, people]) {
    const place = places.get(id);
    if (!place) return;
    const before = place.people ?? people;
    place.people = people;
    for (const name of people) if (!before.includes(name)) note(place, name, 'joined');
    for (const name of before) if (!people.includes(name)) note(place, name, 'left');
    if (place === here) drawHere();
    drawSide();
  },

  said(said) {
    const isPrivate = said.to.startsWith('@');
    const id = isPrivate && said.from !== me ? `@${said.from}` : said.to;
    const place = places.get(id) ?? (isPrivate ? settle(id) : undefined);
    if (!place) return;
    place.typing.delete(said.from);
    take(place, said, true);
    if (place === here) drawTyping();
    drawSide();
  },

  typing([to, name]) {
    const place = places.get(to.startsWith('@') ? `@${name}` : to);
    if (!place) return;
    clearTimeout(place.typing.get(name));
    const fade = () => place.typing.delete(name) && drawTyping();
    place.typing.set(name, setTimeout(fade, FADES));
    drawTyping();
  },

  /** Whom a private message was for is not here. */
  absent(key) {
    for (const place of places.values()) {
      const line = place.lines.find((line) => line.key === key);
      if (!line) continue;
      line.fate = 'failed';
      if (place === here) log.update(line);
    }
  },

  full(id) {
    drop(id);
    const close = make('button', { type: 'button', onclick: () => notify() }, 'OK');
    notify(make('span', {}, `There is no place for the room “${id}”: there are too many.`), close);
  },
};

/** What waits to be sent comes last. */
function rank(line) {
  return line.fate === 'waiting' ? Infinity : line.at;
}

/** Something was said: by others, or by oneself and now heard by all. */
function take(place, said, isNews) {
  place.last = Math.max(place.last, said.at);
  const known = place.lines.find((line) => line.key === said.key && line.from === said.from);
  if (known) {
    Object.assign(known, said, { fate: undefined });
    if (place.lines.at(-1) !== known) {
      place.lines.sort((one, other) => rank(one) - rank(other));
      if (place === here) log.redraw();
    } else if (place === here) {
      log.update(known);
    }
    return;
  }
  if (isNews && said.from !== me && (place !== here || document.hidden)) {
    place.unread += 1;
    if (place.unread === 1) place.firstNew = said;
  }
  put(place, said);
}

/** Who goes and comes back at once has not been away; several share a line. */
function note(place, name, did) {
  const last = place.lines.at(-1);
  // By the clock of the server, as all else.
  const line = { names: [name], did, at: place.last || Date.now() };
  if (!last?.names) return put(place, line);
  if (last.did === did) {
    if (!last.names.includes(name)) last.names.push(name);
  } else if (did === 'joined' && last.names.includes(name)) {
    last.names = last.names.filter((other) => other !== name);
    if (last.names.length === 0) place.lines.pop();
  } else {
    return put(place, line);
  }
  if (place === here) log.redraw();
}

function put(place, line) {
  place.lines.push(line);
  if (place.lines.length > LINES) place.lines.shift();
  if (place === here) log.append();
}

// What one does

/** Enters a room or begins a private talk, if one has not yet. */
function settle(id) {
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
    here = settle(id);
    history.replaceState(null, '', `#${encodeURIComponent(id)}`);
    log.show(here);
    $('text').value = here.draft;
    stretch();
    seen();
    drawHere();
    drawTyping();
    document.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest' });
  }
  for (const panel of document.querySelectorAll('.panel:popover-open')) panel.hidePopover();
  if (matchMedia('(hover: hover)').matches) $('text').focus();
}

function part() {
  if (!here.person) connection.send('leave', here.id);
  drop(here.id);
}

function drop(id) {
  places.delete(id);
  remember('places', JSON.stringify([...places.keys()]));
  if (here.id !== id) return drawSide();
  here = undefined;
  go(places.keys().next().value ?? 'general');
}

function say(text) {
  const at = Math.max(Date.now(), here.last + 1);
  const line = { from: me, text, at, key: key(), fate: 'waiting' };
  here.firstNew = undefined;
  put(here, line);
  utter(here, line);
}

function utter(place, { text, key }) {
  connection.send('say', { to: place.id, text, key });
}

/** Unique enough; `randomUUID` wants https. */
function key() {
  return [...crypto.getRandomValues(new Uint32Array(3))].map((n) => n.toString(36)).join('');
}

function seen() {
  if (document.hidden || !here) return;
  here.unread = 0;
  drawSide();
}

// What is shown

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
  const who = names.length > 2 ? 'Several people' : names.join(' and ');
  $('typing').textContent = names.length ? `${who} ${names.length > 1 ? 'are' : 'is'} typing…` : '';
}

function notify(...what) {
  if (what.length === 0) clearInterval(counting);
  $('notice').replaceChildren(...what);
}

// What stays with this tab when it is loaded again

function remember(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Then one is asked again.
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
    // There was nothing.
  }
}

// What one touches

$('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('name').value.trim();
  $('refusal').textContent = '';
  if (name) begin(name);
});

$('open').addEventListener('submit', (event) => {
  event.preventDefault();
  const room = tidy($('room').value);
  $('room').value = '';
  if (room) go(room);
});

$('say').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  $('text').value = '';
  stretch();
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
  stretch();
  if (!$('text').value || Date.now() - lastTyped < TYPING) return;
  lastTyped = Date.now();
  connection.send('typing', here.id);
});

/** Makes room for what is written, in browsers that do not do so by themselves. */
function stretch() {
  if (CSS.supports('field-sizing', 'content')) return;
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight + 2}px`;
}

$('part').addEventListener('click', part);
$('out').addEventListener('click', () => {
  connection.close();
  forget('name');
  forget('places');
  location.replace(location.pathname);
});
document.addEventListener('visibilitychange', seen);
addEventListener('hashchange', () => here && go(asked() ?? 'general'));
// What is a panel on a phone is a column on a desk.
matchMedia('(max-width: 62rem)').addEventListener('change', () => here && go(here.id));

/** A room's name, as the server takes it. */
function tidy(name) {
  const plain = name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-/, '');
  return [...plain].slice(0, 24).join('').replace(/-$/, '');
}

/** The place that the address names. */
function asked() {
  let id = '';
  try {
    id = decodeURIComponent(location.hash.slice(1));
  } catch {
    // It names none.
  }
  return (/^@./.test(id) ? id : tidy(id)) || undefined;
}

function begin(name) {
  enter(name);
  for (const id of JSON.parse(recall('places') ?? '["general"]')) settle(id);
  go(asked() ?? places.keys().next().value);
}

const name = recall('name');
if (name) {
  $('chat').hidden = false;
  begin(name);
  drawMe();
} else {
  welcome();
}
