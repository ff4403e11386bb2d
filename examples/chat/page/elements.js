// How are elements made? Words go in as text, never as markup.

/** An element with these properties; children are elements and texts. */
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

/** The first letter of a name, in a colour of its own. */
export function face(name) {
  const [letter = '?'] = name;
  const element = make('span', { className: 'face', ariaHidden: 'true' }, letter.toUpperCase());
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 9973;
  element.style.setProperty('--hue', HUES[hash % HUES.length]);
  return element;
}

/** A text whose addresses are links. */
export function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,:;!?)\]}'])/).map((part, at) => {
    if (at % 2 === 0) return part;
    return make('a', { href: part, target: '_blank', rel: 'noopener noreferrer nofollow' }, part);
  });
}
