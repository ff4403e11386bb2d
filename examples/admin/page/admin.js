// What does an operator see, and what can they do?

const $ = (selector) => document.querySelector(selector);

// Names come from peers. Everything is shown by `textContent`, which is never parsed as markup.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; count >= 1024 && at < units.length - 1; at += 1) count /= 1024;
  return `${(count < 10 && at > 0 ? oneDigit : whole).format(count)} ${units[at]}`;
}

function showState(text, isLive) {
  $("#state").textContent = text;
  $("#state").classList.toggle("live", isLive);
}

let hiding;

function showOutcome(text) {
  $("#outcome").textContent = text;
  clearTimeout(hiding);
  hiding = setTimeout(() => ($("#outcome").textContent = ""), 5000);
}

// The connection.

let socket;

function emit(event, data) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ event, data }));
  else showOutcome("not connected");
}

let silence;

/** The server sends a view each second. */
function expectView() {
  showState("live", true);
  clearTimeout(silence);
  silence = setTimeout(() => showState("no answer: the values are old", false), 4000);
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/live`);
  let opened = false;
  socket.onopen = () => {
    opened = true;
    $("#welcome").hidden = true;
    $("main").hidden = false;
    expectView();
  };
  socket.onmessage = (message) => {
    const { event, data } = JSON.parse(message.data);
    if (event === "view") {
      show(data);
      expectView();
    }
    if (event === "outcome" || event === "error") showOutcome(data.text ?? data);
  };
  socket.onclose = async () => {
    clearTimeout(silence);
    showState("disconnected: the values are old", false);
    // A browser does not say why: the cookie is missing, or the server is.
    if (!opened && (await isServed())) return askToken();
    setTimeout(connect, 1000);
  };
}

async function isServed() {
  return fetch("/admin.css", { method: "HEAD" }).then((response) => response.ok, () => false);
}

function askToken() {
  showState("not logged in", false);
  $("main").hidden = true;
  $("#welcome").hidden = false;
  $("#token").focus();
}

async function login(token) {
  const response = await fetch("/login", { method: "POST", body: token });
  if (response.ok) return connect();
  askToken();
  $("#refused").textContent = await response.text();
}

$("#login").addEventListener("submit", (event) => {
  event.preventDefault();
  $("#refused").textContent = "";
  login($("#token").value.trim());
  $("#token").value = "";
});

// The view.

function showTotals(view) {
  const { stats } = view;
  const waiting = stats.queued - stats.written - stats.dropped - stats.discarded;
  const totals = [
    ["Sockets", whole.format(stats.sockets)],
    ["Rooms", whole.format(stats.rooms)],
    ["Connected so far", whole.format(stats.connected)],
    ["Rejected", whole.format(stats.rejected)],
    ["Slow consumers", whole.format(stats.slow_consumers)],
    ["Messages written", whole.format(stats.written)],
    ["Messages waiting", whole.format(waiting)],
    ["Bytes waiting", bytes(stats.queued_bytes)],
  ];
  const list = $("#totals");
  while (list.children.length < totals.length) {
    const entry = document.createElement("div");
    entry.append(document.createElement("dt"), document.createElement("dd"));
    list.append(entry);
  }
  totals.forEach(([name, value], at) => {
    const [dt, dd] = list.children[at].children;
    dt.textContent = name;
    dd.textContent = value;
  });
}

const rows = new Map();

function newRow(id) {
  const row = $("#socket").content.firstElementChild.cloneNode(true);
  row.querySelector(".id").textContent = id;
  row.querySelector(".message").setAttribute("aria-label", `Message ${id}`);
  row.querySelector(".disconnect").setAttribute("aria-label", `Disconnect ${id}`);
  row.querySelector(".message").onclick = () => ask("#message", "#text", id, (text) => emit("tell", { id, text }));
  row.querySelector(".disconnect").onclick = () =>
    ask("#disconnect", "#reason", id, (reason) => emit("disconnect-socket", { id, reason }));
  return row;
}

function fillRow(row, socket, rates) {
  const set = (name, text) => {
    const cell = row.querySelector(name);
    if (cell.textContent !== text) cell.textContent = text;
    return cell;
  };
  const rate = (messages, size) =>
    rates ? `${oneDigit.format(rates[messages])} · ${bytes(rates[size])}` : "–";
  set(".address", socket.peer_addr ?? "unknown");
  set(".in", rate("messages_in", "bytes_in"));
  set(".out", rate("messages_out", "bytes_out"));
  set(".ping", socket.rtt === null ? "–" : `${oneDigit.format(socket.rtt * 1000)} ms`);
  const { messages, bytes: size } = socket.queue;
  const queue = set(".queue", messages ? `${whole.format(messages)} · ${bytes(size)}` : "empty");
  queue.classList.toggle("waiting", messages > 0);
  const rooms = row.querySelector(".rooms");
  if (rooms.dataset.shown !== JSON.stringify(socket.rooms)) {
    rooms.dataset.shown = JSON.stringify(socket.rooms);
    rooms.replaceChildren(...socket.rooms.map((name) => {
      const room = document.createElement("span");
      room.textContent = name;
      return room;
    }));
  }
}

function showSockets(view) {
  const shown = new Set();
  for (const socket of view.sockets) {
    shown.add(socket.id);
    if (!rows.has(socket.id)) rows.set(socket.id, newRow(socket.id));
    fillRow(rows.get(socket.id), socket, view.rates[socket.id]);
  }
  for (const [id, row] of rows) {
    if (!shown.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  // Those with long queues first, and the others in a steady order. Only rows that move are touched,
  // so that a button keeps the focus.
  const order = view.sockets.toSorted((a, b) =>
    b.queue.bytes - a.queue.bytes || (a.id < b.id ? -1 : 1));
  const body = $("#sockets tbody");
  order.forEach((socket, at) => {
    const row = rows.get(socket.id);
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
  });
}

function showRooms(view) {
  $("#rooms").replaceChildren(...view.rooms.map(({ name, sockets }) => {
    const [room, count] = [document.createElement("li"), document.createElement("b")];
    count.textContent = whole.format(sockets);
    room.append(name, count);
    return room;
  }));
}

function more(shown, all) {
  return all === 0 ? "None." : shown < all ? `${whole.format(shown)} of ${whole.format(all)}.` : "";
}

function show(view) {
  showState(view.draining ? "live, draining" : "live", true);
  showTotals(view);
  showSockets(view);
  showRooms(view);
  $("#sockets-more").textContent = more(view.sockets.length, view.stats.sockets);
  $("#rooms-more").textContent = more(view.rooms.length, view.stats.rooms);
}

/** Asks for a text in a dialog, and calls `then` with it unless it is cancelled. */
function ask(dialog, field, id, then) {
  const [asking, input] = [$(dialog), $(field)];
  asking.querySelector(".to").textContent = id;
  input.value = "";
  asking.returnValue = "cancel";
  asking.onclose = () => {
    if (asking.returnValue === "send") then(input.value);
  };
  asking.showModal();
  input.focus();
}

// Enter sends, although the first button of the form cancels.
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("input").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.reportValidity()) {
      event.preventDefault();
      dialog.close("send");
    }
  });
}

// The token of the address that the server prints. It leaves the address bar and the history.
const token = location.hash.slice(1);
history.replaceState(null, "", "/");
if (token) login(token);
else connect();
