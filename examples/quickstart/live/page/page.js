"use strict";

const servers = 3, keys = 12;
const sides = [
  { name: "nearbus", what: "messages, and a journal of the writes", store: "store, with a journal of all writes" },
  { name: "The usual cache", what: "ristretto and pub/sub", store: "store" },
];
const edges = ["0.1 ms", "0.3", "1", "3", "10", "30", "100", "300", "1 s", "3", "10", "never"];
const firstLate = 9; // the first part of the histogram beyond the bound
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const number = new Intl.NumberFormat("en");

const find = (selector, within = document) => within.querySelector(selector);
const copy = id => find("template#" + id).content.firstElementChild.cloneNode(true);

function text(element, value) {
  if (element.textContent !== String(value)) element.textContent = value;
}

// press asks the program to do something.
async function press(fields) {
  const answer = await fetch("do", { method: "POST", body: new URLSearchParams(fields) });
  if (!answer.ok && answer.status !== 429) console.error(await answer.text());
}

function tile(name, pressed) {
  const element = document.createElement(pressed ? "button" : "div");
  element.className = "tile";
  const version = document.createElement("span"), age = document.createElement("small");
  element.append(version, age);
  if (pressed) {
    element.type = "button";
    element.addEventListener("click", pressed);
  }
  return { element, version, age, name, shown: "" };
}

// show draws a version; truth is that of the database, old for how many seconds it has been too old.
function show(t, version, truth, old) {
  const now = version + "/" + truth + "/" + old;
  if (t.shown === now) return;
  t.shown = now;
  const behind = version < truth, label = `${t.name}: version ${version}`;
  text(t.version, version || "");
  text(t.age, old + " s");
  t.element.style.setProperty("--hue", (version * 67) % 360);
  t.element.className = "tile" + (old ? " old" : behind ? " behind" : "");
  t.element.setAttribute("aria-label", label + (old ? `, old for ${old} seconds` : behind ? ", not the newest" : ""));
}

const database = Array.from({ length: keys }, (_, key) => tile(`Record ${key + 1} in the database`));
find("#database").append(...database.map(t => t.element));

const views = sides.map((side, s) => {
  const article = copy("side");
  article.id = ["nearbus", "usual"][s];
  text(find("h2", article), side.name);
  text(find(".what", article), side.what);
  text(find(".store span", article), side.store);
  const cards = Array.from({ length: servers }, (_, server) => {
    const card = copy("server");
    text(find("h3", card), "Server " + (server + 1));
    const tiles = Array.from({ length: keys }, (_, key) =>
      tile(`Record ${key + 1} on server ${server + 1}`, () => press({ what: "write", server, key })));
    find(".records", card).append(...tiles.map(t => t.element));
    return { card, tiles, about: find(".about", card) };
  });
  find(".servers", article).append(...cards.map(c => c.card));
  const bars = edges.map((edge, i) => {
    const bar = document.createElement("div");
    bar.className = "bar" + (i >= firstLate ? " late" : "");
    bar.innerHTML = "<span></span><div class=column><i></i></div><span></span>";
    text(bar.lastElementChild, edge);
    return { count: bar.firstElementChild, column: find("i", bar), bar };
  });
  find(".bars", article).append(...bars.map(b => b.bar));
  find("main").append(article);
  return {
    article, cards, bars, fleet: find(".fleet", article), bus: find(".bus", article), count: find(".count", article),
    stale: find(".stale", article), answers: find(".answers", article), dots: 0,
  };
});

function render(snap) {
  snap.database.forEach((version, key) => show(database[key], version, version, 0));
  views.forEach((view, s) => renderSide(view, snap.sides[s], snap));
  for (const button of document.querySelectorAll(".controls button[data-what]")) {
    const { what, server } = button.dataset;
    const on = { cut: snap.cut[server], pause: snap.paused[server], bus: snap.bus, store: snap.store }[what];
    if (on !== undefined) button.setAttribute("aria-pressed", on);
  }
  find("#keep").checked = !snap.resting;
  snap.hops.forEach(hop => fly(views[hop.side], hop));
  tell(snap);
}

function renderSide(view, side, snap) {
  view.cards.forEach((c, server) => {
    c.tiles.forEach((t, key) => show(t, side.versions[server][key], snap.database[key], side.old[server][key]));
    text(c.about, side.about[server]);
    c.card.classList.toggle("paused", snap.paused[server]);
    c.card.classList.toggle("cut", snap.cut[server]);
  });
  view.fleet.classList.toggle("stopped", snap.bus);
  view.fleet.classList.toggle("stalled", snap.store);
  text(view.stale, number.format(side.stale));
  text(view.answers, number.format(side.answers));
  view.count.classList.toggle("wrong", side.stale > 0);
  const most = Math.max(1, ...side.times);
  side.times.forEach((count, i) => {
    view.bars[i].column.style.height = count ? Math.max(2, 60 * count / most) + "px" : "0";
    text(view.bars[i].count, count ? number.format(count) : "");
  });
}

// fly shows a message on its way; in truth it takes some microseconds.
function fly(view, hop) {
  if (calm.matches || view.dots >= 24) return;
  const place = element => {
    const box = element.getBoundingClientRect(), all = view.fleet.getBoundingClientRect();
    return [box.left + box.width / 2 - all.left, box.bottom - all.top];
  };
  const from = place(view.cards[hop.from].card), to = place(view.cards[Math.max(hop.to, 0)].card);
  const busY = view.bus.getBoundingClientRect().top - view.fleet.getBoundingClientRect().top + 10;
  const path = hop.to < 0
    ? [from, [from[0], (from[1] + busY) / 2]]
    : [from, [from[0], busY], [to[0], busY], hop.lost ? [to[0], (to[1] + busY) / 2] : to];
  const dot = document.createElement("i");
  dot.className = "dot" + (hop.lost ? " lost" : "");
  view.fleet.append(dot);
  view.dots++;
  const frames = path.map(([x, y]) => ({ transform: `translate(${x}px, ${y}px)`, opacity: 1 }));
  if (hop.lost) frames.push({ ...frames.at(-1), opacity: 0 });
  dot.animate(frames, { duration: 700, easing: "ease-in-out" }).finished.finally(() => { dot.remove(); view.dots--; });
}

const list = names => names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names.at(-1);

// tell says in words what is broken, and what each cache makes of it.
function tell(snap) {
  const which = flags => list(flags.flatMap((on, i) => on ? ["server " + (i + 1)] : []));
  const cut = which(snap.cut), paused = which(snap.paused), said = [];
  if (snap.store) said.push("The store does not answer. nearbus trusts its copies for another 0.7 s, then asks the database; the usual cache goes on trusting them.");
  if (snap.bus) said.push("The bus is stopped. nearbus reads what changed in the journal of the store, five times a second; the usual cache hears nothing.");
  else if (cut) said.push(`Messages to and from ${cut} are lost, and no error says so. nearbus finds them in the journal of the store within 0.2 s; the usual cache keeps the old copies.`);
  if (paused) said.push(`Paused: ${paused}. When it goes on, nearbus asks the store before it trusts a copy.`);
  const copies = snap.sides[1].old.flat().filter(age => age).length;
  if (!said.length) said.push(copies
    ? `All is healed. nearbus has caught up; the usual cache keeps ${copies} old ${copies === 1 ? "copy" : "copies"} until the next write of the record, or for 10 minutes.`
    : "All is well: every write is everywhere in an instant. Now cut a server from the bus, and watch its copies.");
  const story = find("#story");
  text(story, said.join(" "));
  story.classList.toggle("broken", Boolean(snap.store || snap.bus || cut || paused));
}

document.addEventListener("click", event => {
  const button = event.target.closest(".controls button[data-what]");
  if (!button) return;
  const { what, server = "" } = button.dataset;
  press({ what, server, on: button.getAttribute("aria-pressed") !== "true" });
});
find("#keep").addEventListener("change", event => press({ what: "rest", on: !event.target.checked }));

const stream = new EventSource("events");
stream.addEventListener("message", event => {
  find("#lost")?.remove();
  render(JSON.parse(event.data));
});
stream.addEventListener("error", () => {
  if (find("#lost")) return;
  const note = document.createElement("p");
  note.id = "lost";
  note.setAttribute("role", "alert");
  text(note, "The program does not answer any more. Start it again: make demo WEB=1");
  document.body.append(note);
});
