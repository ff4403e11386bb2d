// Do the types accept what the client accepts, and refuse what it refuses?

import { EventSocket, EventSocketError } from '../ws-events.js';

interface FromServer {
  said: { from: string; text: string };
  beat: null;
}

interface ToServer {
  say: { text: string };
  beat: null;
  note: string | undefined;
}

const socket = new EventSocket<FromServer, ToServer>('/ws', {
  heartbeat: { event: 'beat', interval: 2_000 },
  resume: true,
  retry: ({ code, reason, opened, attempts }) => code !== 1008 && reason !== '' && opened && attempts < 3,
});
const remove: () => void = socket.on('said', ({ from, text }) => `${from}: ${text}`);
remove();
socket.on('disconnect', ({ retryAt, attempts }) => new Date(retryAt + attempts));
socket.on('connect', ({ attempts, recovered, reason = '' }) => recovered ? attempts : reason);
socket.on('close', ({ code, reason }) => `${code} ${reason}`);
socket.on('message', (bytes) => new Uint8Array(bytes));
socket.on('error', ({ code, event, text }) => `${code} ${event} ${text}`);
socket.onstatechange = (state) => state === 'doubtful';
socket.emit('say', { text: 'hello' }, { volatile: true });
socket.emit('beat');
socket.emit('note');
socket.send(new Uint8Array([1, 2]));
const reply: Promise<number> = socket.request<number>('say', { text: 'x' }, { timeout: 1 });
reply.catch((error) => error instanceof EventSocketError && error.code === 'timeout');
new EventSocket(async () => new URL('wss://example.com')).emit('anything', { at: 'all' });

// @ts-expect-error: the data has another type.
socket.emit('say', { text: 1 });
// @ts-expect-error: the data is missing.
socket.emit('say');
// @ts-expect-error: the server does not handle it.
socket.emit('said', { from: '', text: '' });
// @ts-expect-error: the server does not send it.
socket.on('say', () => {});
// @ts-expect-error: no such state.
socket.state === 'lost';
// @ts-expect-error: no such option.
new EventSocket('/ws', { delay: 1 });
// @ts-expect-error: text is sent as events.
socket.send('text');
