// How does the page stay connected?
//
// `connect(url, { opened, heard, lost, refused })` opens a WebSocket that carries the
// events of the hub, `{"event":…,"data":…}`, and another one whenever it is lost, until
// the server turns us away (1008):
//
//   opened(send)         now one can send: what was said meanwhile, say
//   heard(event, data)   the server has said something; the first time, we are in
//   lost(when)           the connection is lost, and the next try is at this time
//   refused(reason)      the server does not want us

/** The pause before the first try, and the longest; each is twice the one before. */
const PAUSE = 500;
const LONGEST = 15_000;

/** How often we ask whether the server is there, and how long it may take to answer. */
const BEAT = 20_000;
const PATIENCE = 4_000;

export function connect(url, { opened, heard, lost, refused }) {
  let socket;
  let tries = 0;
  let over = false;
  let waiting;
  let doubting;

  function open() {
    clearTimeout(waiting);
    const mine = new WebSocket(url);
    socket = mine;
    mine.onopen = () => opened(send);
    mine.onmessage = ({ data }) => {
      tries = 0;
      trust();
      const said = JSON.parse(data);
      heard(said.event, said.data);
    };
    mine.onclose = ({ code, reason }) => {
      drop();
      if (code === 1008) {
        close();
        refused(reason);
      } else {
        again();
      }
    };
    // An attempt that gets no answer at all is given up, too.
    doubt(2 * PATIENCE);
  }

  /** Nothing more is heard of this one. */
  function drop() {
    trust();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Many pages lose their server at once: they do not come back at once. */
  function again() {
    const pause = Math.min(LONGEST, PAUSE * 2 ** tries) * (0.5 + Math.random() / 2);
    tries += 1;
    clearTimeout(waiting);
    waiting = setTimeout(open, pause);
    lost(Date.now() + pause);
  }

  function trust() {
    clearTimeout(doubting);
    doubting = undefined;
  }

  function doubt(patience) {
    doubting ??= setTimeout(() => {
      drop();
      again();
    }, patience);
  }

  function isOpen() {
    return socket.readyState === WebSocket.OPEN;
  }

  /** A network that is gone says nothing, so we ask. */
  function ask() {
    if (over) return;
    if (isOpen()) {
      send('beat');
      doubt(PATIENCE);
    } else if (socket.readyState !== WebSocket.CONNECTING) {
      open();
    }
  }

  function send(event, data = null) {
    if (isOpen()) socket.send(JSON.stringify({ event, data }));
  }

  function close() {
    over = true;
    clearTimeout(waiting);
    clearInterval(beating);
    drop();
  }

  const beating = setInterval(() => isOpen() && ask(), BEAT);
  for (const event of ['online', 'offline', 'pageshow']) addEventListener(event, ask);
  document.addEventListener('visibilitychange', () => document.hidden || ask());
  open();
  return { send, close, retry: ask };
}
