// Does the client work with a hub, in a browser and in node?
//
// `run({ url, origin, proxied, control, only, WebSocket })` runs each scene, and returns the names of the scenes. `url`
// is that of the hub without sessions, `origin` with a path leads to the others of the server, and `proxied` with a path leads to it through a proxy. `control(command)` does, and waits for it:
//
//   kill, start          ends the server without a closing handshake, and starts it again
//   hold, pass           the proxy keeps all bytes back, and passes them on
//   cut                  the proxy drops its connections, with the bytes that it keeps back
//   offline, online      the network of the browser

import { EventSocket, EventSocketError } from '../ws-events.js';

/** The timeout of a scene, in ms. */
const TIMEOUT = 20_000;

/** Attempts follow each other quickly. */
const QUICK = { minDelay: 10, maxDelay: 50 };

/** No attempt is made by itself after the first one. */
const SLOW = { minDelay: 3_600_000, maxDelay: 3_600_000 };

const inBrowser = typeof document !== 'undefined';

const scenes = {
  async events_and_binary_messages_go_both_ways({ connect }) {
    const { socket, next } = connect();
    equal(socket.state, 'connecting');
    await next('connect');
    equal(socket.state, 'open');
    for (const data of [null, 1, 'ü🦀', { a: [1, 2] }]) {
      socket.emit('echo', data);
      equal(await next('echo'), data);
    }
    socket.emit('echo');
    equal(await next('echo'), null);
    const bytes = new Uint8Array([0, 1, 2, 255]);
    for (const sent of [bytes, bytes.buffer, new Blob([bytes])]) {
      socket.send(sent);
      const received = await next('message');
      equal(received instanceof ArrayBuffer, true);
      equal([...new Uint8Array(received)], [...bytes]);
    }
  },

  async a_removed_listener_is_not_called({ connect }) {
    const { socket, next } = connect();
    const calls = [];
    const remove = socket.on('echo', () => calls.push('first'));
    const second = () => calls.push('second');
    socket.on('echo', second);
    socket.emit('echo', 1);
    await next('echo');
    remove();
    socket.off('echo', second);
    socket.emit('echo', 2);
    await next('echo');
    equal(calls, ['first', 'second']);
  },

  async the_server_tells_mistakes({ connect }) {
    const { socket, next } = connect();
    socket.emit('unknown', 1);
    equal((await next('error')).code, 'unhandled');
    socket.emit('number', 'one');
    const { code, event, text } = await next('error');
    equal([code, event], ['invalid_data', 'number']);
    equal(text.length > 0, true);
  },

  async invalid_events_are_refused_at_once({ connect }) {
    const { socket, next } = connect();
    for (const name of ['', 'connect', 'message', 'ping', 'room_leave', 'x'.repeat(257), undefined]) {
      throws(() => socket.emit(name, 1), 'bad-event');
    }
    let error;
    try {
      socket.emit('echo', 1n);
    } catch (thrown) {
      error = thrown;
    }
    equal(error instanceof TypeError, true);
    socket.emit('x'.repeat(256), 1);
    equal((await next('error')).code, 'unhandled');
    try {
      new EventSocket('http://[', {});
    } catch (thrown) {
      error = thrown;
    }
    equal([error instanceof TypeError, socket.state], [true, 'open']);
  },

  async a_refusal_is_final_and_has_its_reason({ connect }) {
    const { socket, next } = connect({ query: '?refuse=1' });
    equal(await next('close'), { code: 1008, reason: 'not you' });
    equal(socket.state, 'closed');
    throws(() => socket.emit('echo', 1), 'closed', /1008 not you/);
    throws(() => socket.send(new ArrayBuffer(1)), 'closed');
  },

  async close_codes_decide_whether_it_connects_again({ connect }) {
    for (const code of [1001, 1011, 4000]) {
      const { socket, next } = connect(QUICK);
      await next('connect');
      socket.emit('kick', [code, 'later']);
      const lost = await next('disconnect');
      equal([lost.code, lost.reason, lost.opened, lost.attempts], [code, 'later', true, 1]);
      equal((await next('connect')).attempts, 1);
      socket.close();
    }
    for (const code of [1000, 1008, 3003]) {
      const { socket, next } = connect(QUICK);
      await next('connect');
      socket.emit('kick', [code, 'enough']);
      equal(await next('close'), { code, reason: 'enough' });
    }
    const { socket, next } = connect({ ...QUICK, retry: ({ reason }) => reason !== 'stop' });
    await next('connect');
    socket.emit('kick', [1000, 'go on']);
    await next('disconnect');
    await next('connect');
    socket.emit('kick', [4001, 'stop']);
    await next('close');
  },

  async after_a_restart_queued_messages_arrive_in_order({ connect, control }) {
    const { socket, next } = connect(QUICK);
    await next('connect');
    socket.emit('say', 'before');
    socket.emit('said');
    equal(await next('said'), ['before']);
    await control('kill');
    await next('disconnect');
    for (let number = 0; number < 100; number += 1) socket.emit('say', number);
    const bytes = new Uint8Array([1, 2, 3]);
    socket.send(bytes);
    bytes[0] = 9;
    socket.emit('say', 'last');
    socket.emit('said');
    equal(socket.queued, 103);
    socket.on('connect', () => socket.emit('say', 'first'));
    await control('start');
    await next('connect');
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    equal(await next('said'), ['first', ...numbers, 'bytes 1 2 3', 'last']);
    equal(socket.queued, 0);
  },

  async the_outbox_is_bounded({ connect, control }) {
    await control('kill');
    const { socket, next } = connect({ ...QUICK, maxMessages: 3, maxBytes: 1_000 });
    await next('disconnect');
    throws(() => socket.emit('say', 'x'.repeat(500)), 'outbox-full', /maxBytes 1000/);
    equal(socket.emit('echo', 'volatile', { volatile: true }), false);
    for (const number of [1, 2, 3]) equal(socket.emit('say', number), true);
    throws(() => socket.emit('say', 4), 'outbox-full', /3 messages/);
    throws(() => socket.send(new ArrayBuffer(1)), 'outbox-full');
    await control('start');
    await next('connect');
    socket.emit('said');
    equal(await next('said'), [1, 2, 3]);
    equal(socket.emit('echo', 'volatile', { volatile: true }), true);
    equal(await next('echo'), 'volatile');
    throws(() => socket.emit('say', 'x'.repeat(500)), 'outbox-full');
  },

  async attempts_are_delayed_more_and_more({ connect, control }) {
    await control('kill');
    const [{ now }, { random }] = [Date, Math];
    const stopped = now();
    Date.now = () => stopped;
    try {
      // The jitter is at most a half of the delay.
      for (const [drawn, share] of [[0, 0.5], [0.5, 0.75], [1, 1]]) {
        Math.random = () => drawn;
        const { socket, next } = connect({ minDelay: 8, maxDelay: 32 });
        for (const [attempts, longest] of [[1, 8], [2, 16], [3, 32], [4, 32], [5, 32]]) {
          const lost = await next('disconnect');
          equal([lost.code, lost.opened, lost.attempts], [1006, false, attempts]);
          equal(lost.retryAt - stopped, longest * share);
        }
        equal(['waiting', 'connecting'].includes(socket.state), true);
        socket.close();
      }
    } finally {
      Object.assign(Date, { now });
      Object.assign(Math, { random });
    }
    const { next } = connect({ minDelay: 8, maxDelay: 32 });
    for (let attempts = 1; attempts <= 5; attempts += 1) await next('disconnect');
    await control('start');
    equal((await next('connect')).attempts >= 5, true);
  },

  async a_silent_connection_is_doubtful_and_is_replaced({ connect, control, proxied }) {
    const heartbeat = { event: 'beat', interval: 20, doubt: 200, timeout: 1_000 };
    const { socket, next, states } = connect({ ...QUICK, url: `${proxied}/ws`, heartbeat, connectTimeout: 500 });
    await next('connect');
    await next('beat');
    await control('hold');
    const lost = await next('disconnect');
    equal([lost.code, lost.reason], [1006, 'no answer to a heartbeat']);
    equal(states, ['open', 'doubtful', 'waiting']);
    equal((await next('disconnect')).reason, 'the opening handshake takes too long');
    await control('pass');
    await next('connect');
    socket.emit('echo', 1);
    equal(await next('echo'), 1);
  },

  async a_late_answer_ends_the_doubt({ connect, control, proxied }) {
    const heartbeat = { event: 'beat', interval: 20, doubt: 100, timeout: 60_000 };
    const { socket, next, states } = connect({ url: `${proxied}/ws`, heartbeat });
    await next('connect');
    const losses = [];
    socket.on('disconnect', (loss) => losses.push(loss));
    await control('hold');
    await until(() => socket.state === 'doubtful');
    socket.emit('echo', 'kept');
    await control('pass');
    equal(await next('echo'), 'kept');
    equal([states.at(-1), losses], ['open', []]);
  },

  async a_function_gives_the_url_of_each_attempt({ connect, url }) {
    const urls = [
      () => { throw new Error('no ticket'); },
      async () => Promise.reject(new Error('still none')),
      () => new URL(url),
      async () => `${url}?refuse=1`,
    ];
    const { socket, next } = connect({ ...QUICK, url: () => urls.shift()() });
    equal((await next('disconnect')).reason, 'no ticket');
    equal((await next('disconnect')).reason, 'still none');
    equal((await next('connect')).attempts, 2);
    socket.emit('kick', [1012, '']);
    await next('close');
  },

  async the_network_and_the_page_trigger_an_attempt({ connect, control }) {
    const triggers = [(socket) => socket.reconnect()];
    if (inBrowser) {
      triggers.push(async () => {
        await control('offline');
        await control('online');
      });
      triggers.push(() => document.dispatchEvent(new Event('visibilitychange')));
      triggers.push(() => dispatchEvent(new Event('pageshow')));
    }
    for (const trigger of triggers) {
      const { socket, next } = connect(SLOW);
      await next('connect');
      await control('kill');
      await next('disconnect');
      await control('start');
      equal(socket.state, 'waiting');
      await trigger(socket);
      await next('connect');
      socket.close();
    }
  },

  async a_network_change_sends_a_heartbeat({ connect, control }) {
    if (!inBrowser) return;
    const { next } = connect({ heartbeat: { event: 'beat', interval: 3_600_000 } });
    await next('connect');
    await control('offline');
    await control('online');
    await next('beat');
  },

  async requests_have_replies({ connect, control }) {
    const { socket, next } = connect(QUICK);
    equal(await socket.request('sum', [1, 2]), 3);
    equal(await Promise.all([4, 5, 6].map((number) => socket.request('sum', [number]))), [4, 5, 6]);
    await control('kill');
    await next('disconnect');
    // Queued, like any event.
    const later = socket.request('sum', [7, 8]);
    const late = socket.request('sum', [9], { timeout: 10 });
    const aborting = new AbortController();
    const aborted = socket.request('sum', [10], { signal: aborting.signal });
    equal(socket.queued, 3);
    await rejects(late, 'timeout');
    aborting.abort();
    await rejects(aborted, 'AbortError');
    await rejects(socket.request('sum', [11], { signal: aborting.signal }), 'AbortError');
    // A request that has failed before it was sent is not sent.
    equal(socket.queued, 1);
    await control('start');
    equal(await later, 15);
  },

  async a_request_without_a_reply_fails({ connect }) {
    const { socket } = connect(QUICK);
    await rejects(socket.request('silence', null, { timeout: 50 }), 'timeout');
    const lost = socket.request('silence');
    socket.emit('kick', [1012, '']);
    await rejects(lost, 'disconnected');
    const ended = socket.request('silence');
    socket.close();
    await rejects(ended, 'closed');
    await rejects(socket.request('silence'), 'closed');
    await rejects(socket.request('connect'), 'bad-event');
  },

  async the_server_gets_replies({ connect }) {
    const { socket, next } = connect();
    const remove = socket.on('question', () => {});
    socket.on('question', async (number) => number + 1);
    socket.emit('ask', 41);
    equal(await next('asked'), 42);
    remove();
  },

  async a_listener_that_fails_does_not_reply({ connect }) {
    const { socket, next } = connect();
    const [reported, end] = catchReports();
    const circular = {};
    circular.self = circular;
    const failing = [
      () => { throw new Error('at once'); },
      async () => { throw new Error('later'); },
      () => 1n,
      () => circular,
      () => () => {},
    ];
    try {
      for (const [index, listener] of failing.entries()) {
        const remove = [socket.on('question', listener), socket.on('question', () => index)];
        socket.emit('ask', index);
        await until(() => reported.length > index);
        for (const off of remove) off();
      }
      // No reply is expected.
      for (const [index, listener] of failing.slice(0, 2).entries()) {
        const remove = socket.on('echo', listener);
        socket.emit('echo', index);
        await until(() => reported.length > failing.length + index);
        remove();
      }
    } finally {
      end();
    }
    equal(reported.slice(0, 2), ['at once', 'later']);
    // The first reply.
    socket.on('question', (number) => number + 1);
    socket.emit('ask', 41);
    equal(await next('asked'), 42);
  },

  async a_session_is_recovered_many_times_with_each_event_once_and_in_order({ connect, control, proxied, origin }) {
    const { socket, next, heard } = connect({ ...SLOW, url: `${proxied}/resumable`, resume: true });
    equal(await next('connect'), { attempts: 0, recovered: false });
    const sender = connect({ url: `${origin}/resumable`, resume: true }).socket;
    let sent = 0;
    const send = async () => sender.request('post', sent++);
    for (let round = 0; round < 30; round += 1) {
      await send();
      equal(await next('n'), sent - 1);
      // Into the connection that is lost.
      await control('hold');
      await send();
      await control('cut');
      await next('disconnect');
      await control('pass');
      // While there is none.
      for (let number = 0; number < round % 3; number += 1) await send();
      socket.emit('post', sent++);
      socket.reconnect();
      equal((await next('connect')).recovered, true);
      for (let number = sent - 2 - round % 3; number < sent; number += 1) equal(await next('n'), number);
    }
    await send();
    equal(await next('n'), sent - 1);
    equal(heard.get('n'), []);
  },

  async a_connection_that_the_client_gives_up_keeps_its_session({ connect, control, proxied, origin }) {
    const heartbeat = { event: 'beat', interval: 20, doubt: 50, timeout: 200 };
    const { socket, next } = connect({ ...SLOW, url: `${proxied}/resumable`, resume: true, heartbeat });
    const sender = connect({ url: `${origin}/resumable`, resume: true });
    await sender.next('connect');
    await next('connect');
    await control('hold');
    equal((await next('disconnect')).reason, 'no answer to a heartbeat');
    await sender.socket.request('post', 1);
    // What the client has sent to close it.
    await control('pass');
    await until(async () => await sender.socket.request('count') === 1);
    await sender.socket.request('post', 2);
    socket.reconnect();
    equal((await next('connect')).recovered, true);
    for (const number of [1, 2]) equal(await next('n'), number);
  },

  async a_session_that_is_over_is_a_new_one_without_the_old_events({ connect, control, proxied, origin }) {
    for (const [path, end] of [['/forgetful', () => {}], ['/resumable', () => control('kill')]]) {
      const { socket, next } = connect({ ...SLOW, url: proxied + path, resume: true });
      for (let round = 0; round < 3; round += 1) {
        const { recovered, reason } = await next('connect');
        equal([recovered, reason], [false, round ? 'unknown_session' : undefined]);
        const sender = connect({ url: origin + path, resume: true });
        await sender.socket.request('post', round);
        equal(await next('n'), round);
        await control('cut');
        await next('disconnect');
        await until(async () => await sender.socket.request('count') === 1);
        await sender.socket.request('post', 'missed');
        sender.socket.close();
        await end();
        await control('start');
        socket.reconnect();
      }
    }
  },

  async an_offset_of_an_earlier_session_is_not_shown_for_the_next_one({ connect, control, proxied, origin }) {
    const { socket, next } = connect({ ...SLOW, url: `${proxied}/resumable`, resume: true });
    const tell = async (number) => {
      const sender = connect({ url: `${origin}/resumable`, resume: true }).socket;
      await sender.request('tell', number);
      sender.close();
    };
    await next('connect');
    await tell(1);
    equal(await next('n'), 1);
    await control('kill');
    await next('disconnect');
    await control('start');
    socket.reconnect();
    await next('connect');
    // The first message of the new server has the name of that of the old one.
    await control('hold');
    await tell(2);
    await control('cut');
    await control('pass');
    await next('disconnect');
    socket.reconnect();
    equal((await next('connect')).reason, 'missed');
  },

  async the_offsets_that_are_kept_have_a_bound({ connect, origin }) {
    const { socket, next } = connect({ ...QUICK, url: `${origin}/many-rooms`, resume: true });
    equal(await next('asked'), { at: 'room199-1', resume: 'token' });
    socket.close();
  },

  async a_hub_without_sessions_is_a_mistake({ connect }) {
    const { next } = connect({ ...SLOW, resume: true, connectTimeout: 500 });
    equal((await next('error')).code, 'malformed');
    equal((await next('disconnect')).reason, 'the opening handshake takes too long');
  },

  async the_server_says_why_a_handshake_fails({ connect, control }) {
    const { socket } = connect();
    const { status, text } = await socket.explain();
    equal([status, text.includes('Upgrade: websocket')], [426, true]);
    // Node keeps the connection, and would use it for the WebSocket of the next scene.
    await control('kill');
    await socket.explain().catch(() => {});
  },

  async a_closed_client_stays_closed({ connect }) {
    const { socket, next, states } = connect(QUICK);
    await next('connect');
    throwsAny(() => socket.close(999));
    equal(socket.state, 'open');
    socket.close(4001, 'bye');
    equal(await next('close'), { code: 4001, reason: 'bye' });
    socket.close();
    socket.reconnect();
    throws(() => socket.emit('echo', 1), 'closed');
    equal(states, ['open', 'closed']);
    const other = connect();
    other.socket.close();
    await other.next('close');
    const observer = connect();
    await observer.next('connect');
    for (;;) {
      observer.socket.emit('ends');
      const ends = await observer.next('ends');
      if (ends.includes('4001 bye')) break;
    }
  },

  async an_error_in_a_callback_reaches_nothing_else({ connect }) {
    const retry = () => { throw new Error('again'); };
    const { socket, next } = connect({ ...QUICK, retry });
    const [reported, end] = catchReports();
    try {
      socket.on('connect', () => { throw new Error('mine'); });
      socket.onstatechange = () => { throw new Error('too'); };
      await next('connect');
      socket.emit('echo', 1);
      equal(await next('echo'), 1);
      socket.onstatechange = null;
      // The default decides.
      socket.emit('kick', [4000, 'later']);
      await next('disconnect');
      await next('connect');
      socket.emit('kick', [1000, 'enough']);
      await next('close');
    } finally {
      end();
    }
    equal(reported, ['too', 'mine', 'again', 'mine', 'again']);
  },
};

export async function run({ url, origin, proxied, control, only = '', WebSocket }) {
  const names = Object.keys(scenes).filter((name) => name.includes(only));
  for (const name of names) {
    await control(`scene ${name}`);
    // A new server, which has heard nothing.
    await control('kill');
    await control('start');
    const sockets = [];
    const connect = (options = {}) => {
      const query = options.query ?? '';
      const socket = new EventSocket(options.url ?? url + query, { WebSocket, ...options });
      sockets.push(socket);
      return watch(socket);
    };
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('it takes too long')), TIMEOUT);
    });
    try {
      await Promise.race([scenes[name]({ connect, control, url, origin, proxied }), late]);
    } catch (error) {
      throw new Error(`${name}: ${error.stack ?? error}`);
    } finally {
      clearTimeout(timer);
      for (const socket of sockets) socket.close();
      await control('pass');
      if (inBrowser) await control('online');
    }
  }
  return names;
}

/** `next(event)` is the oldest event of this name that was not taken. `states` are all states. */
function watch(socket) {
  const heard = new Map();
  const waiting = new Map();
  const states = [];
  socket.onstatechange = (state) => states.push(state);
  const names = ['connect', 'disconnect', 'close', 'message', 'error', 'echo', 'said', 'beat', 'ends', 'asked', 'n'];
  for (const name of names) {
    heard.set(name, []);
    socket.on(name, (data) => {
      heard.get(name).push(data);
      waiting.get(name)?.();
    });
  }
  const next = async (name) => {
    while (!heard.get(name).length) await new Promise((resolve) => waiting.set(name, resolve));
    return heard.get(name).shift();
  };
  return { socket, next, states, heard };
}

/** The messages of all errors that are reported until `end()`. */
function catchReports() {
  const reported = [];
  const note = (error) => reported.push(error.message);
  const { reportError } = globalThis;
  const { error } = console;
  globalThis.reportError = note;
  console.error = note;
  const end = () => {
    globalThis.reportError = reportError;
    console.error = error;
  };
  return [reported, end];
}

async function until(isTrue) {
  while (!await isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function equal(got, expected) {
  const [one, other] = [got, expected].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${one}, not ${other}`);
}

function throws(run, code, text = /./) {
  try {
    run();
  } catch (error) {
    if (error instanceof EventSocketError && error.code === code && text.test(error.message)) return;
    throw error;
  }
  throw new Error(`no error, not ${code}`);
}

async function rejects(promise, code) {
  const error = await promise.then(() => undefined, (error) => error);
  if (error?.code !== code && error?.name !== code) throw new Error(`${error}, not ${code}`);
}

function throwsAny(run) {
  try {
    run();
  } catch {
    return;
  }
  throw new Error('no error');
}
