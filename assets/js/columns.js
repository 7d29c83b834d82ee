/*
 * Continuations side by side, as they are being written.
 * value: null | {job, prompt, columns: [{key, role, title, about}], error}     server: look({job}), drop({job})
 * events: "again" {} (with other dice), "pick" is not here: single tokens are picked in the bars
 */
const { element: node, fill, roleName, roleTerm, roleClass, followJob, waiting, problem, switcher } = window.forgetting;
const VIEWS = [["text", "text"], ["differences", "differences"], ["matches", "matches"]];
let view = "differences";
let stop = null;
let cards = new Map();
let shown = null;
let former = "";  // the job whose texts were shown last

const wordsOf = (text) => text.match(/\s*\S+|\s+$/g) || [];
const plain = (word) => word.trim().toLowerCase().replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, "");

/* Which words of both lists belong to their longest common subsequence. */
function common(one, other) {
  const [a, b] = [one.map(plain), other.map(plain)];
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  }
  const [left, right] = [new Set(), new Set()];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { left.add(i++); right.add(j++); } else if (table[i + 1][j] >= table[i][j + 1]) i++;
    else j++;
  }
  return [left, right];
}

function marked(words, same) {
  if (view === "text") return [words.join("")];
  const wanted = (i) => same.has(i) === (view === "matches");
  const pieces = [];
  for (let i = 0; i < words.length;) {
    let end = i + 1;
    while (end < words.length && wanted(end) === wanted(i)) end++;
    const text = words.slice(i, end).join("");
    const space = text.length - text.trimStart().length;
    pieces.push(...(wanted(i) && text.trim() ? [text.slice(0, space), node("mark", { class: view }, text.slice(space))] : [text]));
    i = end;
  }
  return pieces;
}

function drawTexts(columns) {
  const first = wordsOf(columns[0].text);
  let sameInFirst = new Set();
  columns.forEach((column, i) => {
    const card = cards.get(column.key);
    if (!card) return;
    const words = wordsOf(column.text);
    const [left, right] = i ? common(first, words) : [new Set(), new Set()];
    if (i === 1) sameInFirst = left;
    card.same = right;
    card.words = words;
  });
  columns.forEach((column, i) => {
    const card = cards.get(column.key);
    if (!card) return;
    const alone = columns.filter((one) => !one.waits).length < 2;
    fill(card.text, alone ? [column.text] : marked(card.words, i ? card.same : sameInFirst));
    card.end.textContent = column.waits ? ` ${column.waits}` : column.ended ? " (ends here)" : "";
    card.node.classList.toggle("writing", !column.done && !column.waits);
  });
}

function cardFor(column, prompt) {
  const text = node("span", { class: "continuation", "aria-live": "off" });
  const end = node("span", { class: "hint" });
  const card = node("article", { class: `voice ${roleClass(column.role)}` },
    node("h4", {}, node("span", { class: "swatch", "aria-hidden": "true" }), column.title || roleName(column.role), " ", node("small", { class: "hint" }, column.about || roleTerm(column.role))),
    node("p", { class: "book", dir: "auto" }, node("span", { class: "prompt" }, prompt), text, end));
  return { node: card, text, end, words: [], same: new Set() };
}

function build(value) {
  cards = new Map(value.columns.map((column) => [column.key, cardFor(column, value.prompt)]));
  const place = node("div", { class: "columns-wait" });
  const done = node("p", { class: "sr", role: "status" });
  const again = node("button", { type: "button", onclick: () => trigger("again", {}) }, "Again, with other dice");
  const halt = node("button", { type: "button", onclick: () => server.drop({ job: value.job }).catch(() => {}) }, "Stop");
  fill(element, node("div", { class: "row spread columns-tools" },
    switcher("What to mark", VIEWS, view, (key) => { view = key; if (shown) drawTexts(shown); }), node("div", { class: "row" }, halt, again)),
    place, node("div", { class: "columns-grid" }, [...cards.values()].map((card) => card.node)), done);
  again.hidden = !value.chance;
  return { place, done, halt, again };
}

function update() {
  if (stop) stop();
  [stop, shown] = [null, null];
  const value = props.value;
  const job = (value && value.job) || "";
  if (former && former !== job) server.drop({ job: former }).catch(() => {});  // nobody reads it any more
  former = job;
  if (!value) return fill(element);
  if (value.error) return fill(element, problem(value.error, value.hint));
  const parts = build(value);
  stop = followJob(server.look, value.job, (state) => {
    const texts = state.value && state.value.columns;
    if (texts) {
      shown = texts.map((column, i) => ({ ...column, key: value.columns[i].key, done: state.state !== "working" }));
      drawTexts(shown);
    }
    const over = state.state === "done" || state.state === "failed";
    parts.halt.hidden = over;
    if (state.state === "failed") fill(parts.place, problem(state.message, state.hint));
    else if (over || (texts && texts.some((column) => column.text))) fill(parts.place);
    else fill(parts.place, waiting(state));
    if (over) parts.done.textContent = "The models have finished writing.";
  });
  return undefined;
}
watch("value", update);
update();
