// How does the page reconnect, with backoff and heartbeats?
//
// `connect(url, { onOpen, onEvent, onDisconnect, onRejected })` opens a WebSocket for events in
// the hub's envelope, `{"event":…,"data":…}`. It reconnects until the server closes with 1008.
//
//   onOpen()             the WebSocket is open, `send` works
//   onEvent(event, data) an event arrived; the first one means that the server accepted the name
//   onDisconnect(when)   the connection was lost; the next attempt is at this time
//   onRejected(reason)   the server closed with 1008

/** Exponential backoff: the first and the maximum delay, in ms. */
const FIRST_DELAY = 500;
const MAX_DELAY = 15_000;

/** The interval of heartbeats, and the timeout of the response, in ms. */
const HEARTBEAT_INTERVAL = 20_000;
const RESPONSE_TIMEOUT = 4_000;

export function connect(url, { onOpen, onEvent, onDisconnect, onRejected }) {
  let socket;
  let attempts = 0;
  let isClosed = false;
  let reconnectTimer;
  let responseTimer;

  function open() {
    clearTimeout(reconnectTimer);
    const opened = new WebSocket(url);
    socket = opened;
    opened.onopen = () => onOpen();
    opened.onmessage = ({ data }) => {
      attempts = 0;
      stopTimeout();
      const message = JSON.parse(data);
      onEvent(message.event, message.data);
    };
    opened.onclose = ({ code, reason }) => {
      discard();
      if (code === 1008) {
        close();
        onRejected(reason);
      } else {
        scheduleReconnect();
      }
    };
    // The timeout of the opening handshake and the first event.
    startTimeout(2 * RESPONSE_TIMEOUT);
  }

  /** Closes the socket, and ignores its further events. */
  function discard() {
    stopTimeout();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Schedules the next attempt. The jitter spreads the reconnects of many pages. */
  function scheduleReconnect() {
    const delay = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** attempts) * (0.5 + Math.random() / 2);
    attempts += 1;
    clearTimeout(reconnectTimer);
    reconnectTimer = setTimeout(open, delay);
    onDisconnect(Date.now() + delay);
  }

  function stopTimeout() {
    clearTimeout(responseTimer);
    responseTimer = undefined;
  }

  function startTimeout(timeout) {
    responseTimer ??= setTimeout(() => {
      discard();
      scheduleReconnect();
    }, timeout);
  }

  function isOpen() {
    return socket.readyState === WebSocket.OPEN;
  }

  /** Sends a heartbeat, or reconnects at once. */
  function probe() {
    if (isClosed) return;
    if (isOpen()) {
      send('beat');
      startTimeout(RESPONSE_TIMEOUT);
    } else if (socket.readyState !== WebSocket.CONNECTING) {
      open();
    }
  }

  function send(event, data = null) {
    if (isOpen()) socket.send(JSON.stringify({ event, data }));
  }

  function close() {
    isClosed = true;
    clearTimeout(reconnectTimer);
    clearInterval(heartbeat);
    discard();
  }

  const heartbeat = setInterval(() => isOpen() && probe(), HEARTBEAT_INTERVAL);
  for (const event of ['online', 'offline', 'pageshow']) addEventListener(event, probe);
  document.addEventListener('visibilitychange', () => document.hidden || probe());
  open();
  return { send, close, retry: probe };
}
