// How are the side panels drawn: rooms, direct messages, members and the user's own name?

import { face, make } from './elements.js';

const $ = (id) => document.getElementById(id);

/** Draws all rooms and the open conversations. `go` is the callback for a click. */
export function drawSide({ places, rooms, here, go }) {
  const row = (id, sign, name, count) => {
    const place = places.get(id);
    const unread = place?.unread ?? 0;
    const end = unread
      ? make('span', { className: 'badge' }, `${unread}`, make('span', { className: 'unseen' }, ' unread'))
      : make('span', { className: 'count', title: 'people here' }, count ? `${count}` : '');
    const label = make('bdi', { className: 'label' }, name);
    const button = make('button', { type: 'button', className: 'row', onclick: () => go(id) }, sign, label, end);
    button.classList.toggle('inside', place !== undefined);
    button.classList.toggle('unread', unread > 0);
    if (place === here) button.setAttribute('aria-current', 'page');
    return make('li', {}, button);
  };
  const names = new Map(rooms);
  for (const { id, person } of places.values()) if (!person && !names.has(id)) names.set(id, 0);
  const sign = () => make('span', { className: 'sign', ariaHidden: 'true' }, '#');
  replace($('rooms'), [...names].sort(byName).map(([name, count]) => row(name, sign(), name, count)));
  const people = new Set([...places.values()].flatMap((place) => place.people ?? []));
  const directs = [...places.values()].filter((place) => place.person);
  replace($('directs'), directs.map(({ id, person }) => {
    const sign = face(person);
    sign.classList.toggle('present', people.has(person));
    return row(id, sign, person);
  }));
  $('no-directs').hidden = directs.length > 0;
  const unread = [...places.values()].reduce((sum, place) => sum + place.unread, 0);
  $('elsewhere').hidden = unread === 0;
  const where = here ? here.person ?? `#${here.id}` : '';
  document.title = `${unread ? `(${unread}) ` : ''}${where} · Chat`;
}

/** Sorts numerically: room 2 before room 10. */
function byName([one], [other]) {
  return one.localeCompare(other, undefined, { numeric: true });
}

/** Replaces the items of a list, and keeps the focus. */
function replace(list, items) {
  const at = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...items);
  list.children[at]?.querySelector('button')?.focus();
}

/** Draws the header and the members of the displayed place. */
export function drawHere({ places, here, me, go }) {
  const { id, person, people } = here;
  $('chat').classList.toggle('private', person !== undefined);
  $('title').replaceChildren(make('bdi', {}, person ?? `# ${id}`));
  $('about').textContent = person ? 'Private: only the two of you' : memberCount(people);
  $('text').placeholder = person ? `Message to ${person}` : `Message in #${id}`;
  $('part').hidden = places.size < 2;
  $('part').textContent = person ? 'Close' : 'Leave';
  replace($('here'), (people ?? []).map((name) => {
    const label = make('bdi', { className: 'label' }, name);
    if (name === me) {
      const you = make('span', { className: 'count' }, 'you');
      return make('li', { className: 'row inside' }, face(name), label, you);
    }
    const onclick = () => go(`@${name}`);
    const title = 'Write in private';
    return make('li', {}, make('button', { type: 'button', className: 'row inside', title, onclick }, face(name), label));
  }));
}

function memberCount(people) {
  if (!people) return '';
  if (people.length > 1) return `${people.length} people here`;
  return 'Only you are here';
}

export function drawMe({ me, online }) {
  const state = make('small', {}, online ? 'Connected' : 'Reconnecting…');
  const picture = face(me);
  picture.classList.toggle('present', online);
  $('me').replaceChildren(picture, make('div', {}, make('bdi', {}, me), state));
}
