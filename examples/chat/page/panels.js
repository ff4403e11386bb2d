// How are the side panels drawn: rooms, direct messages, members and the user's own name?

import { face, make } from './elements.js';

const $ = (id) => document.getElementById(id);

/** Draws all rooms and the open conversations. `go` is the callback for a click. */
export function drawSide({ places, rooms, here, go }) {
  const names = new Map(rooms);
  for (const { id, person } of places.values()) if (!person && !names.has(id)) names.set(id, 0);
  const row = (id, name, count) => ({ id, name, count, place: places.get(id) });
  update($('rooms'), [...names].sort(byName).map(([name, count]) => row(name, name, count)), {
    make: ({ id, name }) => rowButton(id, sign(), name, go),
    draw: (button, { count, place }) => drawRow(button, place, here, count ? `${count}` : ''),
  });
  const people = new Set([...places.values()].flatMap((place) => place.people ?? []));
  const directs = [...places.values()].filter((place) => place.person);
  update($('directs'), directs.map(({ id, person }) => row(id, person)), {
    make: ({ id, name }) => rowButton(id, face(name), name, go),
    draw(button, { name, place }) {
      toggle(button.firstChild, 'present', people.has(name));
      drawRow(button, place, here, '');
    },
  });
  $('no-directs').hidden = directs.length > 0;
  const unread = [...places.values()].reduce((sum, place) => sum + place.unread, 0);
  $('elsewhere').hidden = unread === 0;
  const where = here ? here.person ?? `#${here.id}` : '';
  const title = `${unread ? `(${unread}) ` : ''}${where} · Chat`;
  if (document.title !== title) document.title = title;
}

const sign = () => make('span', { className: 'sign', ariaHidden: 'true' }, '#');

function rowButton(id, sign, name, go) {
  const label = make('bdi', { className: 'label' }, name);
  const end = make('span');
  return make('button', { type: 'button', className: 'row', onclick: () => go(id) }, sign, label, end);
}

function drawRow(button, place, here, count) {
  const unread = place?.unread ?? 0;
  const end = button.lastChild;
  const text = unread ? `${unread} unread` : count;
  if (end.textContent !== text) {
    end.className = unread ? 'badge' : 'count';
    end.title = unread ? '' : 'people here';
    if (unread) end.replaceChildren(`${unread}`, make('span', { className: 'unseen' }, ' unread'));
    else end.textContent = count;
  }
  toggle(button, 'inside', place !== undefined);
  toggle(button, 'unread', unread > 0);
  const isHere = place !== undefined && place === here;
  if (button.hasAttribute('aria-current') === isHere) return;
  if (isHere) button.setAttribute('aria-current', 'page');
  else button.removeAttribute('aria-current');
}

function toggle(element, name, isOn) {
  if (element.classList.contains(name) !== isOn) element.classList.toggle(name, isOn);
}

/** Changes the items of a list to those of the rows, by their ids. What stays keeps its elements, so
 * a click or the focus on it is not lost while the list changes often. */
function update(list, rows, { make: create, draw }) {
  const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const items = rows.map((row) => {
    let item = known.get(row.id);
    if (!item) {
      item = make('li', {}, create(row));
      item.dataset.id = row.id;
    }
    draw(item.firstChild, row);
    return item;
  });
  const isSame = items.length === list.children.length && items.every((item, at) => item === list.children[at]);
  if (isSame) return;
  const focused = document.activeElement;
  const hadFocus = list.contains(focused);
  const at = [...list.children].findIndex((item) => item.contains(focused));
  list.replaceChildren(...items);
  if (!hadFocus) return;
  (focused.isConnected ? focused : list.children[at]?.querySelector('button'))?.focus();
}

/** Sorts numerically: room 2 before room 10. */
function byName([one], [other]) {
  return one.localeCompare(other, undefined, { numeric: true });
}

/** Draws the header and the members of the displayed place. */
export function drawHere({ places, here, me, go }) {
  const { id, person, people = [], doubtful, away } = here;
  $('chat').classList.toggle('private', person !== undefined);
  $('title').replaceChildren(make('bdi', {}, person ?? `# ${id}`));
  $('about').textContent = person ? 'Private: only the two of you' : memberCount(here.people);
  $('text').placeholder = person ? `Message to ${person}` : `Message in #${id}`;
  $('part').hidden = places.size < 2;
  $('part').textContent = person ? 'Close' : 'Leave';
  update($('here'), people.map((name) => ({ id: name })), {
    make: ({ id: name }) => memberRow(name, me, go),
    draw(row, { id: name }) {
      toggle(row, 'doubtful', doubtful.has(name));
      toggle(row, 'away', away.has(name));
      const text = doubtful.has(name) ? 'no answer' : away.has(name) ? 'away' : name === me ? 'you' : '';
      if (row.lastChild.textContent !== text) row.lastChild.textContent = text;
    },
  });
}

function memberRow(name, me, go) {
  const label = make('bdi', { className: 'label' }, name);
  const end = make('span', { className: 'count' }, name === me ? 'you' : '');
  const parts = [face(name), label, end];
  if (name === me) return make('div', { className: 'row inside' }, ...parts);
  const onclick = () => go(`@${name}`);
  const title = 'Write in private';
  return make('button', { type: 'button', className: 'row inside', title, onclick }, ...parts);
}

function memberCount(people) {
  if (!people) return '';
  if (people.length > 1) return `${people.length} people here`;
  return 'Only you are here';
}

const STATES = { open: 'Connected', doubtful: 'No answer…' };

export function drawMe({ me, isAway, state }) {
  const text = make('small', {}, isAway && state === 'open' ? 'Away' : STATES[state] ?? 'Reconnecting…');
  $('away').setAttribute('aria-pressed', isAway);
  const picture = face(me);
  picture.classList.toggle('present', state === 'open');
  $('me').replaceChildren(picture, make('div', {}, make('bdi', {}, me), text));
}
