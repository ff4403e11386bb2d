// How does a web page, or a program in node, exchange events with a hub of ws-events?
//
// README.md describes the use, ws-events.d.ts each member.

/** Names of events of the hub and of this client. */
const RESERVED = new Set(
  'connect message ping pong close disconnect error room_join room_leave'.split(' '));

/** Close codes after which another connection would end in the same way. */
const FINAL = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 3003]);

/** A connection that ends sooner (in ms) is a failed attempt. */
const STABLE = 5_000;

/** Above so many bytes that wait for the network, a volatile message is dropped. */
const CONGESTED = 16 * 1024;

const DEFAULTS = {
  protocols: [],
  minDelay: 500,
  maxDelay: 15_000,
  connectTimeout: 10_000,
  maxMessages: 1_000,
  maxBytes: 1024 * 1024,
  retry: ({ code }) => !FINAL.has(code),
};

const HEARTBEAT = { interval: 20_000, doubt: 3_000, timeout: 10_000 };

export class EventSocketError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'EventSocketError';
    this.code = code;
  }
}

export class EventSocket {
  onstatechange = null;

  #url;
  #options;
  #WebSocket;
  #state = 'connecting';
  /** The present WebSocket. */
  #socket;
  #attempts = 0;
  #openedAt = 0;
  #heardAt = 0;
  #timers = {};
  #listeners = new Map();
  /** Messages for the next connection, `{ payload, size, id }`, oldest first. */
  #outbox = [];
  /** The token of the session, with the option `resume`. */
  #session = null;
  /** The last offset of each room, the newest at the end. */
  #offsets = new Map();
  /** Requests without a reply, by id: `{ resolve, reject, timer, sent }`. */
  #requests = new Map();
  #lastId = 0;
  #reason;
  #page = new AbortController();

  constructor(url, options = {}) {
    this.#url = typeof url === 'function' ? url : webSocketUrl(url);
    this.#options = { ...DEFAULTS, ...options };
    const { heartbeat } = options;
    if (heartbeat) {
      const given = typeof heartbeat === 'string' ? { event: heartbeat } : heartbeat;
      this.#options.heartbeat = { ...HEARTBEAT, ...given };
      checkName(given.event);
    }
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) {
      throw new EventSocketError('unsupported',
        'there is no WebSocket: use node 22, or the option `WebSocket`');
    }
    const { signal } = this.#page;
    const listen = (target, event, listener) => target?.addEventListener?.(event, listener, { signal });
    for (const event of ['online', 'offline', 'pageshow']) {
      listen(globalThis, event, () => event === 'offline' ? this.#probe() : this.reconnect());
    }
    const { document } = globalThis;
    listen(document, 'visibilitychange', () => document.visibilityState === 'visible' && this.reconnect());
    this.#connect();
  }

  get state() {
    return this.#state;
  }

  get queued() {
    return this.#outbox.length;
  }

  on(event, listener) {
    const known = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...known, listener]);
    return () => this.off(event, listener);
  }

  off(event, listener) {
    const known = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, known.filter((other) => other !== listener));
  }

  emit(event, data, { volatile } = {}) {
    return this.#submit(envelope(event, data), { volatile });
  }

  send(bytes, { volatile } = {}) {
    return this.#submit(bytes, { volatile });
  }

  request(event, data, { timeout = 10_000, signal } = {}) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const request = { resolve, reject, sent: false };
      this.#requests.set(id, request);
      try {
        this.#submit(envelope(event, data, id), { id });
      } catch (error) {
        this.#requests.delete(id);
        throw error;
      }
      const abandon = (error) => {
        this.#outbox = this.#outbox.filter((queued) => queued.id !== id);
        this.#settle(id, 'reject', error);
      };
      request.timer = setTimeout(
        () => abandon(new EventSocketError('timeout', `no reply to \`${event}\` within ${timeout} ms`)), timeout);
      const onAbort = () => abandon(signal.reason);
      signal?.addEventListener('abort', onAbort);
      request.forget = () => signal?.removeEventListener('abort', onAbort);
    });
  }

  reconnect() {
    if (this.#state === 'waiting') this.#connect();
    else this.#probe();
  }

  close(code = 1000, reason = '') {
    if (this.#state === 'closed') return;
    this.#discard(code, reason);
    this.#end({ code, reason }, 'this client was closed');
  }

  async explain({ timeout = 5_000 } = {}) {
    const url = await this.#target();
    url.protocol = url.protocol.replace('ws', 'http');
    const { status, statusText, headers, body } = await fetch(url,
      { cache: 'no-store', referrerPolicy: 'origin', signal: AbortSignal.timeout(timeout) });
    let text = '';
    if (body && headers.get('content-type')?.startsWith('text/plain')) {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = {}; !part.done && text.length < 1_000;) {
        part = await reader.read();
        text += part.value ?? '';
      }
      reader.cancel().catch(() => {});
    }
    return { status, statusText, text: text.slice(0, 1_000) };
  }

  async #target() {
    return webSocketUrl(typeof this.#url === 'function' ? await this.#url() : this.#url);
  }

  async #connect() {
    this.#discard();
    // The attempt, until there is a WebSocket.
    const attempt = (this.#socket = {});
    this.#timers.connect = setTimeout(
      () => this.#lost(1006, 'the opening handshake takes too long'), this.#options.connectTimeout);
    this.#setState('connecting');
    try {
      const url = await this.#target();
      if (this.#socket === attempt) this.#listen(new this.#WebSocket(url.href, this.#options.protocols));
    } catch (error) {
      if (this.#socket === attempt) this.#lost(1006, String(error?.message ?? error));
    }
  }

  #listen(socket) {
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    const present = (handle) => (event) => this.#socket === socket && handle(event);
    socket.onopen = present(() => this.#options.resume ? socket.send(this.#hello()) : this.#opened());
    socket.onmessage = present(({ data }) => this.#received(data));
    socket.onclose = present(({ code, reason }) => this.#lost(code, reason));
    // A close event follows, but not in node 20 if the opening handshake fails.
    const lost = present(() => this.#isConnected() || this.#lost(1006, ''));
    socket.onerror = () => setTimeout(lost);
  }

  #opened(session) {
    clearTimeout(this.#timers.connect);
    this.#openedAt = this.#heardAt = Date.now();
    const { heartbeat } = this.#options;
    if (heartbeat) {
      this.#timers.beat = setInterval(() => {
        if (Date.now() - this.#heardAt >= heartbeat.interval / 2) this.#probe();
      }, heartbeat.interval);
    }
    this.#setState('open');
    // What the listeners emit goes before the outbox.
    this.#dispatch('connect', { attempts: this.#attempts, ...session });
    const queued = this.#outbox;
    this.#outbox = [];
    for (const [at, message] of queued.entries()) {
      if (!this.#isOpen()) {
        // A listener has closed it.
        if (this.#state !== 'closed') this.#outbox = [...queued.slice(at), ...this.#outbox];
        return;
      }
      this.#write(message);
    }
  }

  #hello() {
    const at = [...this.#offsets.values()];
    // The server bounds this message.
    return JSON.stringify({ resume: this.#session, at: at[100] ? at.at(-1) : at });
  }

  #received(data) {
    this.#heardAt = Date.now();
    if (this.#timers.dead) this.#alive();
    if (typeof data !== 'string') return void this.#dispatch('message', data);
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      // No object, either.
    }
    const { event, ack, id, at, session, recovered, reason } = message ?? {};
    const room = at?.match?.(/^p|[^-]*/)[0];
    if (room && !at[64]) {
      const offsets = this.#offsets;
      offsets.delete(room);
      offsets.set(room, at);
      if (offsets.size > 101) offsets.delete(offsets.keys().next().value);
    }
    if (session && this.#state === 'connecting') {
      this.#session = session;
      if (!recovered) this.#offsets.clear();
      this.#opened({ recovered, reason });
    } else if (typeof ack === 'number') {
      this.#settle(ack, 'resolve', message.data);
    } else if (typeof event === 'string' && (event === 'error' || !RESERVED.has(event))) {
      const results = this.#dispatch(event, message.data);
      if (typeof id === 'number') this.#reply(id, results).catch(report);
    } else {
      this.#dispatch('error', { code: 'malformed', event: null, text: `this is no event: ${data.slice(0, 100)}` });
    }
  }

  /** Sends the first result, unless a listener fails. */
  async #reply(ack, results) {
    const socket = this.#socket;
    const values = await Promise.all(results).catch(() => []);
    if (!values.length || socket !== this.#socket || !this.#isOpen()) return;
    const data = values.find((value) => value !== undefined) ?? null;
    socket.send(`{"ack":${ack},"data":${JSON.stringify(data).trim()}}`);
  }

  #lost(code, reason) {
    const opened = this.#isConnected();
    this.#discard();
    if (opened && Date.now() - this.#openedAt >= STABLE) this.#attempts = 0;
    for (const [id, { sent }] of this.#requests) {
      if (sent) this.#settle(id, 'reject', new EventSocketError('disconnected', 'the connection was lost before the reply'));
    }
    this.#attempts += 1;
    const loss = { code, reason, opened, attempts: this.#attempts };
    if (!call(this.#options.retry, loss, DEFAULTS.retry(loss))) {
      return this.#end({ code, reason }, `the connection was closed with ${code} ${reason}`);
    }
    const { minDelay, maxDelay } = this.#options;
    const longest = Math.min(maxDelay, minDelay * 2 ** (loss.attempts - 1));
    const delay = globalThis.navigator?.onLine === false ? maxDelay : longest * (0.5 + Math.random() / 2);
    this.#timers.retry = setTimeout(() => this.#connect(), delay);
    this.#setState('waiting');
    this.#dispatch('disconnect', { ...loss, retryAt: Date.now() + delay });
  }

  #end(close, why) {
    this.#page.abort();
    this.#outbox = [];
    this.#reason = why;
    for (const id of [...this.#requests.keys()]) {
      this.#settle(id, 'reject', new EventSocketError('closed', why));
    }
    this.#setState('closed');
    this.#dispatch('close', close);
  }

  /** Stops all timers, and closes the present WebSocket. */
  #discard(code = 4000, reason) {
    // It throws if an application may not send the code. 1000 and none end the session.
    this.#socket?.close?.(code, reason);
    this.#socket = undefined;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
  }

  #submit(payload, { volatile, id }) {
    if (this.#state === 'closed') throw new EventSocketError('closed', this.#reason);
    const { maxMessages, maxBytes } = this.#options;
    const isOpen = this.#isOpen();
    const waiting = isOpen ? this.#socket.bufferedAmount : this.#outbox.reduce((sum, { size }) => sum + size, 0);
    if (volatile && (!isOpen || waiting > CONGESTED)) return false;
    const size = sizeOf(payload);
    if (waiting + size > maxBytes || (!isOpen && this.#outbox.length >= maxMessages)) {
      throw new EventSocketError('outbox-full',
        `the outbox is full: ${this.queued} messages and ${waiting} bytes wait (maxMessages ${maxMessages}, maxBytes ${maxBytes})`);
    }
    if (isOpen) this.#write({ payload, id });
    else {
      // The caller may change a buffer later.
      const { buffer = payload, byteOffset, byteLength } = payload;
      if (byteLength >= 0) payload = new Uint8Array(buffer, byteOffset, byteLength).slice();
      this.#outbox.push({ payload, size, id });
    }
    return true;
  }

  #write({ payload, id }) {
    this.#socket.send(payload);
    const request = this.#requests.get(id);
    if (request) request.sent = true;
  }

  #settle(id, how, value) {
    const request = this.#requests.get(id);
    if (!request) return;
    clearTimeout(request.timer);
    request.forget();
    this.#requests.delete(id);
    request[how](value);
  }

  /** Sends a heartbeat, unless one has no answer yet. */
  #probe() {
    const { heartbeat } = this.#options;
    if (!heartbeat || !this.#isOpen() || this.#timers.dead) return;
    this.#socket.send(envelope(heartbeat.event, null, 0));
    this.#timers.doubt = setTimeout(() => this.#setState('doubtful'), heartbeat.doubt);
    const due = Date.now() + heartbeat.timeout;
    this.#timers.dead = setTimeout(() => {
      if (Date.now() < due + 1_000) return this.#lost(1006, 'no answer to a heartbeat');
      // The page was frozen. The answer may be there.
      this.#alive();
      this.#probe();
    }, heartbeat.timeout);
  }

  #alive() {
    clearTimeout(this.#timers.doubt);
    clearTimeout(this.#timers.dead);
    this.#timers.dead = undefined;
    if (this.#state === 'doubtful') this.#setState('open');
  }

  #isConnected() {
    return this.#state === 'open' || this.#state === 'doubtful';
  }

  /** Not while the WebSocket is closing: what it would take then is lost. */
  #isOpen() {
    return this.#isConnected() && this.#socket?.readyState === 1;
  }

  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    if (this.onstatechange) call(this.onstatechange, state);
  }

  #dispatch(event, data) {
    const listeners = this.#listeners.get(event) ?? [];
    if (event === 'error' && !listeners.length) console.warn('ws-events:', data);
    const results = listeners.map(async (listener) => listener(data));
    for (const result of results) result.catch(report);
    return results;
  }
}

/** What a callback throws stops nothing else. */
function call(listener, data, otherwise) {
  try {
    return listener(data);
  } catch (error) {
    report(error);
    return otherwise;
  }
}

function report(error) {
  if (globalThis.reportError) reportError(error);
  else console.error(error);
}

function webSocketUrl(url) {
  const parsed = new URL(url, globalThis.location?.href);
  parsed.protocol = parsed.protocol.replace('http', 'ws');
  return parsed;
}

function envelope(event, data = null, id) {
  checkName(event);
  return JSON.stringify({ event, data, id });
}

function checkName(event) {
  if (typeof event === 'string' && event && !RESERVED.has(event) && new TextEncoder().encode(event).length <= 256) return;
  throw new EventSocketError('bad-event', `the event name ${JSON.stringify(event)} is reserved, empty or longer than 256 bytes`);
}

/** The memory that a message takes. */
function sizeOf(payload) {
  return typeof payload === 'string' ? 2 * payload.length : payload.byteLength ?? payload.size;
}
