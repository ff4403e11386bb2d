/** The names of events, and the type of the data of each. */
export type EventMap = object;

/** `connecting`: an attempt is made. `open`: messages are sent. `doubtful`: messages are sent, and
 * a heartbeat has no answer so far. `waiting`: the next attempt is scheduled. `closed`: the end. */
export type ConnectionState = 'connecting' | 'open' | 'doubtful' | 'waiting' | 'closed';

/** A binary message. */
export type Bytes = ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob;

/** A lost connection, or a failed attempt. */
export interface Loss {
  /** The close code; 1006 if the connection ended without one, and if an attempt failed. */
  code: number;
  /** The reason of the server, or of this client. */
  reason: string;
  /** Whether the connection was open. */
  opened: boolean;
  /** The failed attempts since the last connection that lasted 5 seconds, with this one. */
  attempts: number;
}

/** Events of this client. The hub keeps their names for itself, so they are no custom events. */
export interface OwnEvents {
  /** The connection is open. What listeners emit is sent before the outbox. `attempts` counts the
   * failed attempts and lost connections before it.
   *
   * With the option `resume`, `recovered` is whether the session of the connection before was
   * recovered: the events that were missed follow, in order. Otherwise events may be missing, and
   * `reason` is that of the hub. The first connection has neither a session nor a reason. */
  connect: { attempts: number; recovered?: boolean; reason?: string };
  /** The connection was lost, or an attempt failed. `retryAt` is the time of the next attempt, in
   * milliseconds since 1970. */
  disconnect: Loss & { retryAt: number };
  /** There will be no further connection: the server or this client has closed. */
  close: { code: number; reason: string };
  /** A binary message. */
  message: ArrayBuffer;
  /** A mistake, as the server tells it: `malformed`, `unhandled` or `invalid_data`. Also, with
   * `malformed`, a text of the server that is no event. Without a listener, it is a warning on the
   * console. */
  error: { code: string; event: string | null; text: string };
}

export interface Heartbeat {
  /** The event that is sent. The server must answer it with any message. */
  event: string;
  /** Milliseconds between heartbeats, while the server is silent. Default: 20,000. */
  interval?: number;
  /** Milliseconds without an answer until the state is `doubtful`. Default: 3,000. */
  doubt?: number;
  /** Milliseconds without an answer until the connection is given up. Default: 10,000. */
  timeout?: number;
}

export interface Options {
  /** The subprotocols to offer. Default: none. */
  protocols?: string | string[];
  /** Milliseconds before the second attempt, minus a jitter of up to a half. The delay doubles
   * with each failed attempt. Default: 500. */
  minDelay?: number;
  /** The longest delay between attempts, in milliseconds. Default: 15,000. */
  maxDelay?: number;
  /** Milliseconds that an attempt may take. Default: 10,000. */
  connectTimeout?: number;
  /** The maximum number of messages that wait for a connection. Default: 1,000. */
  maxMessages?: number;
  /** The maximum size of messages that wait for a connection or for the network, in bytes. A
   * string counts two bytes for each UTF-16 unit. Default: 1 MiB. */
  maxBytes?: number;
  /** Finds dead connections. A page cannot send pings. Default: none. */
  heartbeat?: string | Heartbeat;
  /** Asks the hub for the session of the connection that was lost: see `connect`. The hub serves the
   * connection as `Protocol::Resumable`. Default: false. */
  resume?: boolean;
  /** Whether to connect again. Default: unless the code is 1000, 1002, 1003, 1007, 1008, 1009,
   * 1010, 3000 or 3003. What it throws is reported, and the default decides. */
  retry?: (loss: Loss) => boolean;
  /** The class of the connection. Default: the global `WebSocket`. */
  WebSocket?: unknown;
}

export interface EmitOptions {
  /** Drops the message if there is no connection, or if more than 16 KiB wait for the network.
   * Default: false. */
  volatile?: boolean;
}

export interface RequestOptions {
  /** Milliseconds until the request fails. Default: 10,000. */
  timeout?: number;
  /** Aborts the request. */
  signal?: AbortSignal;
}

type Data<T> = undefined extends T ? [data?: T, options?: EmitOptions]
  : null extends T ? [data?: T, options?: EmitOptions]
  : [data: T, options?: EmitOptions];

/** A connection to a hub that is made again when it is lost.
 *
 * `In` has the events that the server sends, `Out` those that it handles. */
export class EventSocket<
  In extends EventMap = Record<string, any>,
  Out extends EventMap = Record<string, any>,
> {
  /** Connects. A function as the URL is called for each attempt. `http:` stands for `ws:`, and a
   * page may leave out scheme and host.
   *
   * @throws TypeError if the URL is invalid.
   * @throws EventSocketError `unsupported` if there is no `WebSocket`. */
  constructor(url: string | URL | (() => string | URL | Promise<string | URL>), options?: Options);

  readonly state: ConnectionState;
  /** The number of messages that wait for a connection. */
  readonly queued: number;
  /** Called with each new state. */
  onstatechange: ((state: ConnectionState) => void) | null;

  /** Calls the listener for each event with this name. Returns a function that removes it.
   *
   * If the event is a request of the server, the first result of the listeners that is not
   * `undefined` is the reply; a promise is awaited. If a listener throws, or the result is no JSON,
   * there is no reply, and the error is reported. */
  on<E extends keyof OwnEvents>(event: E, listener: (data: OwnEvents[E]) => void): () => void;
  on<E extends Exclude<keyof In & string, keyof OwnEvents>>(event: E, listener: (data: In[E]) => unknown): () => void;

  off<E extends keyof OwnEvents>(event: E, listener: (data: OwnEvents[E]) => void): void;
  off<E extends Exclude<keyof In & string, keyof OwnEvents>>(event: E, listener: (data: In[E]) => unknown): void;

  /** Sends an event, or queues it until there is a connection. Returns `false` if a volatile one
   * was dropped.
   *
   * An event that was sent is lost if the connection breaks before it has arrived. Use `request`
   * to know.
   *
   * @throws EventSocketError `outbox-full`, `closed`, or `bad-event` for a name that is reserved.
   * @throws TypeError if the data is no JSON. */
  emit<E extends keyof Out & string>(event: E, ...data: Data<Out[E]>): boolean;

  /** Sends or queues a binary message.
   *
   * @throws EventSocketError `outbox-full` or `closed`. */
  send(bytes: Bytes, options?: EmitOptions): boolean;

  /** Sends or queues an event, and returns the server's reply.
   *
   * The promise is rejected with an EventSocketError: `timeout`; `disconnected` if the connection
   * was lost after the event was sent, so that it may have arrived; `closed`; `outbox-full`;
   * `bad-event`. A request that fails before it was sent is not sent. */
  request<Reply = any, E extends keyof Out & string = keyof Out & string>(
    event: E, data?: Out[E], options?: RequestOptions): Promise<Reply>;

  /** Connects at once instead of at the scheduled time. If there is a connection, sends a
   * heartbeat. */
  reconnect(): void;

  /** Closes the connection for good. Messages in the outbox are dropped. Default: 1000. */
  close(code?: number, reason?: string): void;

  /** Asks the server by HTTP why the opening handshake fails, which browsers do not tell: GETs the
   * URL, with the origin of the page as `Referer`, and returns the status and up to 1,000 characters
   * of a plain text. The status is 426, over HTTP/2 405, if the server refuses nothing, and with some
   * routes also instead of 403, 429 and 503: see the README.
   *
   * It is rejected if the server does not answer within the timeout (default: 5,000 ms), or does
   * not allow this page to read the answer. */
  explain(options?: { timeout?: number }): Promise<{ status: number; statusText: string; text: string }>;
}

export class EventSocketError extends Error {
  readonly code: 'outbox-full' | 'closed' | 'bad-event' | 'timeout' | 'disconnected' | 'unsupported';
  constructor(code: EventSocketError['code'], message: string);
}
