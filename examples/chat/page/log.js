// How does the talk look?
//
// A place has `lines`: what somebody has said, `{ from, text, at, key, fate }`, and notes
// of who came and went, `{ names, did, at }`. `fate` is what became of one's own words: waiting,
// failed, or nothing when all have heard them. `firstNew` is the first line that was not
// seen.

import { face, linked, make } from './elements.js';

const log = document.querySelector('#log');
const newest = document.querySelector('#newest');

/** What one says within five minutes stands together. */
const TOGETHER = 5 * 60_000;

/** Is the end in view? Then it stays so. */
let atEnd = true;
let place;
let me;
let choose;

/** Who I am, and what to do when a name is chosen. */
export function begin(name, onName) {
  me = name;
  choose = onName;
}

/** Draws a place, and goes to its end. */
export function show(shown) {
  place = shown;
  redraw();
  toEnd();
}

/** Draws the place that is shown from its beginning. */
export function redraw() {
  const top = log.scrollTop;
  // It is there to be read, and was announced before.
  log.ariaLive = 'off';
  log.replaceChildren(start());
  place.lines.forEach((line, at) => draw(line, place.lines[at - 1]));
  requestAnimationFrame(() => (log.ariaLive = 'polite'));
  if (atEnd) toEnd();
  else log.scrollTop = top;
}

/** Draws the last line of the place that is shown. */
export function append() {
  const line = place.lines.at(-1);
  draw(line, place.lines.at(-2));
  if (atEnd || line.from === me) toEnd();
  else if (!line.names) newest.hidden = false;
}

/** Draws one of my lines again. */
export function update(line) {
  const old = log.querySelector(`[data-key="${CSS.escape(line.key)}"]`);
  old?.replaceWith(said(line, old.classList.contains('first')));
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
    log.append(said(line, line.from !== before?.from || line.at - before.at > TOGETHER));
  }
}

function said(line, first) {
  const { from, text, at, key, fate } = line;
  const words = make('div', { className: 'words' }, ...linked(text));
  const time = make('time', { dateTime: new Date(at).toISOString() }, clock(at));
  const head = first ? [face(from), make('div', { className: 'by' }, by(from), time)] : [time];
  const item = make('li', { className: 'said' }, ...head, words);
  item.dataset.key = key;
  item.classList.toggle('first', first);
  if (!first) time.prepend(make('span', { className: 'unseen' }, `${from}, `));
  if (fate) {
    item.classList.add(fate);
    item.append(make('div', { className: 'fate' }, FATES[fate]));
  }
  return item;
}

const FATES = { waiting: 'Sending…', failed: 'Not delivered: nobody of this name is here.' };

/** A name that can be chosen, to write in private. */
function by(name) {
  const shown = make('bdi', {}, name);
  if (name === me) return shown;
  return make('button', { type: 'button', title: 'Write in private', onclick: () => choose(name) }, shown);
}

/** Names as they are said: Ann, Ben and Mia. */
function listed(names) {
  return names.flatMap((name, at) => {
    const bdi = make('bdi', {}, name);
    if (at === 0) return [bdi];
    return [at === names.length - 1 ? ' and ' : ', ', bdi];
  });
}

/** What stands above the first line. */
function start() {
  const [title, text] = place.person
    ? [place.person, 'Only the two of you read this. It is kept nowhere, and goes with the page.']
    : [`#${place.id}`, 'The room begins here. For company, open this page in another tab, or send somebody its address.'];
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
// A keyboard on the screen takes room.
new ResizeObserver(() => atEnd && toEnd()).observe(log);
