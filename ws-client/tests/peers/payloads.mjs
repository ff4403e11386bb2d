// Which payloads do the node peers send, and are the echoes correct?

import { randomBytes } from 'node:crypto';

const PHRASE = Buffer.from('Grüße aus 東京 🦀, and so on. ');

// Repeated blocks: one for each deflate window that is just too small for it.
const BLOCKS = [200, 300, 600, 1200, 2500, 5000, 10000, 20000];
const UNIT = Buffer.concat(BLOCKS.map((size) => randomBytes(size)).flatMap((block) => [block, block]));

// Text with this length in UTF-8.
export function text(size) {
  const phrases = Math.floor(size / PHRASE.length);
  return Buffer.alloc(size, '.').fill(PHRASE, 0, phrases * PHRASE.length);
}

// Bytes that compress by half with a window of 15 bits.
export function binary(size) {
  return size === 0 ? Buffer.alloc(0) : Buffer.alloc(size, UNIT);
}

// The payload in five pieces, some of them empty, cut without regard to characters.
export function pieces(payload) {
  const size = payload.length;
  const third = Math.floor(size / 3);
  const cuts = [0, Math.min(1, size), third, third, Math.floor(size / 2), size];
  cuts.sort((a, b) => a - b);
  return cuts.slice(1).map((end, i) => payload.subarray(cuts[i], end));
}

export function same(expected, actual) {
  const isSame = Buffer.isBuffer(expected)
    ? Buffer.isBuffer(actual) && expected.equals(actual)
    : JSON.stringify(expected) === JSON.stringify(actual);
  if (!isSame) {
    throw new Error(`expected ${brief(expected)}, got ${brief(actual)}`);
  }
}

function brief(value) {
  if (Buffer.isBuffer(value)) {
    return `${value.length} bytes (${value.toString('latin1', 0, 40)}…)`;
  }
  return JSON.stringify(value);
}

// What `ws` calls the parameters of RFC 7692.
export function perMessageDeflate(compression) {
  if (compression === null || compression === true) {
    return compression ?? false;
  }
  const names = Object.entries(compression).map(([name, value]) => [
    name.replace(/_(.)/g, (_, letter) => letter.toUpperCase()),
    value,
  ]);
  return { threshold: 128, ...Object.fromEntries(names) };
}
