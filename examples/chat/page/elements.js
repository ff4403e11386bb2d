// How are DOM elements created? User input is inserted as text, never as markup.

/** Creates an element with properties. Children are elements or text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('aria-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

const HUES = [255, 25, 155, 320, 200, 290, 55, 350];

const characters = globalThis.Intl?.Segmenter && new Intl.Segmenter();

/** The first character of a name, with its marks. */
function initial(name) {
  const [first] = characters ? characters.segment(name) : [];
  return (first?.segment ?? [...name][0] ?? '?').toUpperCase();
}

/** The avatars of the latest names. In a crowd, each message has one. */
const faces = new Map();

const MAX_FACES = 100;

/** An avatar: the first character of a name, in a color derived from the name. */
export function face(name) {
  let element = faces.get(name);
  if (!element) {
    element = make('span', { className: 'face', ariaHidden: 'true' }, make('span', {}, initial(name)));
    let hash = 0;
    for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 9973;
    element.style.setProperty('--hue', HUES[hash % HUES.length]);
    if (faces.size >= MAX_FACES) faces.clear();
    faces.set(name, element);
  }
  return element.cloneNode(true);
}

/** Splits a text into text and links for its URLs. */
export function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,:;!?)\]}'])/).map((part, at) => {
    if (at % 2 === 0) return part;
    return make('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow' }, part);
  });
}
