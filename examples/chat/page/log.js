// How are the messages of a place displayed?
//
// A place has `lines`: messages, `{ from, text, at, key, status }`, and notes of users who joined
// or left, `{ names, did, at }`. `status` is `waiting`, `failed`, `unsaid` or `rejected` for a message of this user, and
// undefined after the server confirmed it. `firstNew` is the first unread line. A line that
// changes is replaced by another object.
//
// `draw` is called at most once per frame, however many lines have arrived. It compares the lines
// with those that are displayed, and changes only what differs. At the end of the log, it scrolls to
// the new end at once. The browser estimates some heights. When it knows them, the listener and the
// observer at the end of this file scroll again.

import { face, linked, make } from './elements.js';

const log = document.querySelector('#log');
const list = log.querySelector('ol');
const newest = document.querySelector('#newest');

/** Messages of a user within five minutes share one header. */
const GROUP_INTERVAL = 5 * 60_000;

/** Above this number of new lines in a frame, a screen reader does not read them. */
const MAX_SPOKEN = 5;

/** Whether the log is scrolled to the end, and follows new lines. */
let atEnd = true;
let place;
let me;
let choose;
/** The displayed lines, and the elements of each. */
let shown = [];
const elements = new Map();
let introduction;
/** The newest elements. The browser lays them out at once, unlike the others (see `chat.css`): with
 * estimated heights, those that replace others would move the log away from its end. */
let fresh = [];
/** How many they are at most, which is about a screen. */
const MAX_FRESH = 40;

/** Sets the name of this user, and the callback for a click on another name. */
export function begin(name, onName) {
  me = name;
  choose = onName;
}

/** Displays a place, from its end. */
export function show(other) {
  place = other;
  shown = [];
  elements.clear();
  introduction = start();
  list.replaceChildren(introduction);
  atEnd = true;
  newest.hidden = true;
  speak(false);
  draw();
}

/** Scrolls to the end with the next lines. */
export function follow() {
  atEnd = true;
}

/** Displays the present lines of the place. */
export function draw() {
  const { lines } = place;
  const from = lines.length ? shown.indexOf(lines[0]) : -1;
  const kept = from < 0 ? 0 : countEqual(shown, from, lines);
  for (const line of shown.slice(0, Math.max(from, 0))) remove(line);
  for (const line of shown.slice(Math.max(from, 0) + kept)) remove(line);
  // Without the lines before it, the first one needs a header of its own.
  if (from > 0) replace(lines[0]);
  const added = lines.slice(kept);
  // This user has heard the own ones, and what is drawn when a place is shown.
  const isNews = shown.length > 0 && added.some((line) => line.from !== me);
  speak(isNews && added.length <= MAX_SPOKEN);
  if (place.isTrimmed && !introduction.classList.contains('trimmed')) {
    const older = make('li', { className: 'start trimmed' }, 'Older messages are not shown.');
    introduction.replaceWith(older);
    introduction = older;
  }
  const items = added.flatMap((line, at) => itemsOf(line, lines[kept + at - 1]));
  if (items.length) {
    for (const item of fresh) item.classList.remove('fresh');
    fresh = items.slice(-MAX_FRESH);
    for (const item of fresh) item.classList.add('fresh');
  }
  list.append(...items);
  shown = [...lines];
  // Not by the observer alone: lines that replace others of the same height do not resize the list, but
  // the position may have changed while their heights were estimated.
  if (atEnd) toEnd();
  else if (added.some((line) => !line.names)) newest.hidden = false;
}

/** How many lines are the same as those that are shown. */
function countEqual(shown, from, lines) {
  let count = 0;
  while (count < lines.length && shown[from + count] === lines[count]) count += 1;
  return count;
}

function itemsOf(line, before) {
  const items = [];
  if (day(line.at) !== day(before?.at ?? 0)) {
    items.push(make('li', { className: 'day' }, day(line.at)));
    before = undefined;
  }
  if (line === place.firstNew) {
    items.push(make('li', { className: 'new' }, 'New'));
    before = undefined;
  }
  if (line.names) items.push(make('li', { className: 'note' }, ...listed(line.names), ` ${line.did}`));
  else items.push(messageItem(line, line.from !== before?.from || line.at - before.at > GROUP_INTERVAL));
  elements.set(line, items);
  return items;
}

function remove(line) {
  for (const item of elements.get(line) ?? []) item.remove();
  elements.delete(line);
}

function replace(line) {
  const [first, ...others] = elements.get(line) ?? [];
  first?.replaceWith(...itemsOf(line));
  for (const item of others) item.remove();
}

function messageItem(line, first) {
  const { from, text, at, status, why } = line;
  const words = make('div', { className: 'words' }, ...linked(text));
  const time = make('time', { dateTime: new Date(at).toISOString() }, minute(at));
  const head = first ? [face(from), make('div', { className: 'by' }, by(from), time)] : [time];
  const item = make('li', { className: 'said' }, ...head, words);
  item.classList.toggle('first', first);
  if (!first) time.prepend(make('span', { className: 'unseen' }, `${from}, `));
  if (status) {
    item.classList.add(status);
    item.append(make('div', { className: 'status' }, STATUS_TEXTS[status] ?? `Not sent: ${why}.`));
  }
  return item;
}

const STATUS_TEXTS = { waiting: 'Sending…', failed: 'Not delivered: this user is not connected.', unsaid: 'Not sent: the server cannot store it now.' };

/** A name as a button that starts a private conversation. */
function by(name) {
  const bdi = make('bdi', {}, name);
  if (name === me) return bdi;
  return make('button', { type: 'button', title: 'Write in private', onclick: () => choose(name) }, bdi);
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
    ? [place.person, 'Only the two of you can read this. The page forgets it when you close it.']
    : [`#${place.id}`, 'The start of the room. Open this page in another tab, or share its address.'];
  return make('li', { className: 'start' }, make('strong', {}, title), text);
}

// One formatter for all lines, since making one takes longer than formatting.
const clock = new Intl.DateTimeFormat([], { hour: '2-digit', minute: '2-digit' });

/** The last minute that was formatted. In a crowd, many lines are of the same. */
let formatted = { minute: undefined, text: '' };

function minute(at) {
  const minute = Math.floor(at / 60_000);
  if (formatted.minute !== minute) formatted = { minute, text: clock.format(at) };
  return formatted.text;
}

/** The bounds of the last day that was named, and its name. Most lines are of the same. */
let named = { from: 0, to: 0, of: 0, name: '' };

function day(at) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (named.of === today && at >= named.from && at < named.to) return named.name;
  const from = new Date(at).setHours(0, 0, 0, 0);
  // At noon of the day after, or of the day before: a day has 23 to 25 hours.
  const to = new Date(from + 36 * 3_600_000).setHours(0, 0, 0, 0);
  const yesterday = new Date(today - 12 * 3_600_000).setHours(0, 0, 0, 0);
  let name = new Date(at).toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' });
  if (from === today) name = 'Today';
  if (from === yesterday) name = 'Yesterday';
  named = { from, to, of: today, name };
  return name;
}

/** Whether a screen reader reads new lines. It has read those that are drawn again. */
function speak(isOn) {
  const value = isOn ? 'polite' : 'off';
  if (log.ariaLive !== value) log.ariaLive = value;
}

function toEnd() {
  log.scrollTop = log.scrollHeight;
  ({ scrollHeight: height, scrollTop: end } = log);
  atEnd = true;
  newest.hidden = true;
}

/** The height of the content, and the position, at the last scroll to the end. */
let height = 0;
let end = 0;

log.addEventListener('scroll', () => {
  // The lines have become higher, such as in a narrower window. The user has not scrolled up.
  if (atEnd && log.scrollHeight !== height && log.scrollTop >= end) return toEnd();
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  // At the end, the log follows. Elsewhere, the browser keeps the position of what is read.
  log.classList.toggle('away', !atEnd);
  if (atEnd) newest.hidden = true;
});
newest.addEventListener('click', () => {
  toEnd();
  log.focus();
});
// New lines resize the list, and an on-screen keyboard resizes the log.
const resized = new ResizeObserver(() => atEnd && toEnd());
resized.observe(log);
resized.observe(list);
