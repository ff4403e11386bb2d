// How are the messages of a place displayed?
//
// A place has `lines`: messages, `{ from, text, at, key, status }`, and notes of users who joined
// or left, `{ names, did, at }`. `status` is `waiting` or `failed` for a message of this user, and
// undefined after the server confirmed it. `firstNew` is the first unread line.

import { face, linked, make } from './elements.js';

const log = document.querySelector('#log');
const newest = document.querySelector('#newest');

/** Messages of a user within five minutes share one header. */
const GROUP_INTERVAL = 5 * 60_000;

/** Whether the log is scrolled to the end, and follows new lines. */
let atEnd = true;
let place;
let me;
let choose;

/** Sets the name of this user, and the callback for a click on another name. */
export function begin(name, onName) {
  me = name;
  choose = onName;
}

/** Draws a place, and scrolls to its end. */
export function show(shown) {
  place = shown;
  redraw();
  toEnd();
}

/** Draws all lines of the displayed place. */
export function redraw() {
  const top = log.scrollTop;
  // A screen reader has announced these lines already.
  log.ariaLive = 'off';
  log.replaceChildren(start());
  place.lines.forEach((line, at) => draw(line, place.lines[at - 1]));
  requestAnimationFrame(() => (log.ariaLive = 'polite'));
  if (atEnd) toEnd();
  else log.scrollTop = top;
}

/** Draws the last line of the displayed place. */
export function append() {
  const line = place.lines.at(-1);
  draw(line, place.lines.at(-2));
  if (atEnd || line.from === me) toEnd();
  else if (!line.names) newest.hidden = false;
}

/** Redraws a message of this user. */
export function update(line) {
  const old = log.querySelector(`[data-key="${CSS.escape(line.key)}"]`);
  old?.replaceWith(messageItem(line, old.classList.contains('first')));
  if (atEnd) toEnd();
}

function draw(line, before) {
  if (day(line.at) !== day(before?.at ?? 0)) {
    log.append(make('li', { className: 'day' }, day(line.at)));
    before = undefined;
  }
  if (line === place.firstNew) {
    log.append(make('li', { className: 'new' }, 'New'));
    before = undefined;
  }
  if (line.names) {
    log.append(make('li', { className: 'note' }, ...listed(line.names), ` ${line.did}`));
  } else {
    log.append(messageItem(line, line.from !== before?.from || line.at - before.at > GROUP_INTERVAL));
  }
}

function messageItem(line, first) {
  const { from, text, at, key, status } = line;
  const words = make('div', { className: 'words' }, ...linked(text));
  const time = make('time', { dateTime: new Date(at).toISOString() }, clock(at));
  const head = first ? [face(from), make('div', { className: 'by' }, by(from), time)] : [time];
  const item = make('li', { className: 'said' }, ...head, words);
  item.dataset.key = key;
  item.classList.toggle('first', first);
  if (!first) time.prepend(make('span', { className: 'unseen' }, `${from}, `));
  if (status) {
    item.classList.add(status);
    item.append(make('div', { className: 'status' }, STATUS_TEXTS[status]));
  }
  return item;
}

const STATUS_TEXTS = { waiting: 'Sending…', failed: 'Not delivered: this user is not connected.' };

/** A name as a button that starts a private conversation. */
function by(name) {
  const shown = make('bdi', {}, name);
  if (name === me) return shown;
  return make('button', { type: 'button', title: 'Write in private', onclick: () => choose(name) }, shown);
}

/** Names as a list in English: Ann, Ben and Mia. */
function listed(names) {
  return names.flatMap((name, at) => {
    const bdi = make('bdi', {}, name);
    if (at === 0) return [bdi];
    return [at === names.length - 1 ? ' and ' : ', ', bdi];
  });
}

/** The introduction above the first line. */
function start() {
  const [title, text] = place.person
    ? [place.person, 'Only the two of you can read this. It is not stored, and is lost when you close the page.']
    : [`#${place.id}`, 'The start of the room. Open this page in another tab, or share its address.'];
  return make('li', { className: 'start' }, make('strong', {}, title), text);
}

function day(at) {
  const date = new Date(at).toDateString();
  if (date === new Date().toDateString()) return 'Today';
  if (date === new Date(Date.now() - 86_400_000).toDateString()) return 'Yesterday';
  return new Date(at).toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' });
}

function clock(at) {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
  atEnd = true;
  newest.hidden = true;
}

log.addEventListener('scroll', () => {
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  if (atEnd) newest.hidden = true;
});
newest.addEventListener('click', () => {
  toEnd();
  log.focus();
});
// An on-screen keyboard resizes the log.
new ResizeObserver(() => atEnd && toEnd()).observe(log);
