/* The anchor table: every change goes to the server and comes back as the whole state; the focus stays where it was. */
const { element: node, fill } = window.forgetting;
const KINDS = ["person", "place", "creature", "thing", "phrase"];
const ROWS_AT_ONCE = 120;
const view = { filter: "", which: "all", shown: ROWS_AT_ONCE, page: 0, seed: 0, text: "both" };
let state = null;
let draft = "";
let drawing = false;
let rowsDrawn = 0;

/* --- what stands where --- */
const toolbar = node("div", { class: "row toolbar", role: "toolbar", "aria-label": "Dictionary" });
const said = node("p", { class: "said", role: "status", "aria-live": "polite" });
const adder = node("form", { class: "adder", onsubmit: add });
const table = node("div", { class: "anchors", role: "table", "aria-label": "Anchors" });
const totals = node("p", { class: "hint totals" });
const preview = node("section", { class: "card preview", "aria-label": "The text with its anchors" });
const left = node("section", { class: "table-side", "aria-label": "Anchor table" }, toolbar, said, adder, totals, table);
fill(element, node("div", { class: "dictionary" }, left, preview), footer());

function footer() {
  return node("p", { class: "row foot" }, node("button", { type: "button", class: "quiet", onclick: () => window.forgetting.visit({ step: "text" }) }, "← Text"),
    node("button", { type: "button", class: "primary", onclick: () => window.forgetting.visit({ step: "unlearn", run: "" }) }, "Next: unlearn →"));
}

/* --- talking to the server --- */
/* One after another: what is asked for while an answer is on its way waits for it. `more` may be made when its turn comes. */
let line = Promise.resolve();
let asked = 0; // not sent yet
function act(action, more = {}, focus = null) {
  asked += 1;
  line = line.then(() => ask(action, typeof more === "function" ? more() : more, focus));
  return line;
}
async function ask(action, more, focus) {
  asked -= 1;
  element.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => say("Working …"), 600);
  try {
    const found = await server.change({ draft, action, version: state ? state.version : null, page: view.page, seed: view.seed, ...more });
    if (found.rows) {
      state = found;
      view.page = found.preview.page;
      draw(focus);
    }
    say(found.refused || found.said || "", Boolean(found.refused));
    return found;
  } catch {
    say("The page's server does not answer. Nothing is lost: try again.", true);
    return null;
  } finally {
    clearTimeout(slow);
    element.removeAttribute("aria-busy");
  }
}
function say(words, refused = false) {
  said.className = `said${refused ? " note error" : ""}`;
  fill(said, words, words && state && state.undo && !refused && /^(Deleted|All|\d+ anchors (sugg|imp)|Added)/.test(words) ? node("button", { type: "button", class: "quiet", onclick: () => act("undo") }, "Undo") : null);
}

/* --- toolbar --- */
function drawToolbar() {
  const off = (words, disabled) => ({ type: "button", disabled, title: words });
  fill(toolbar,
    node("button", { type: "button", class: state.rows.length ? "" : "primary", onclick: suggest }, "Suggest anchors"),
    state.llm ? node("button", { type: "button", onclick: askModel }, "Ask a language model") : null,
    node("button", { ...off(state.undo ? `Take back: ${state.undo}` : "Nothing to take back", !state.undo), "data-key": "undo", onclick: () => act("undo", {}, "undo") }, "↶ Undo"),
    node("button", { ...off(state.redo ? `Do again: ${state.redo}` : "Nothing to do again", !state.redo), "data-key": "redo", onclick: () => act("redo", {}, "redo") }, "↷ Redo"),
    node("label", { class: "search" }, node("span", { class: "sr" }, "Search the table"),
      node("input", { type: "search", value: view.filter, placeholder: "Search", "data-key": "search", oninput: (event) => { view.filter = event.target.value; view.shown = ROWS_AT_ONCE; drawRows(); } })),
    more());
}
function more() {
  const file = node("input", { type: "file", accept: ".csv,.json", class: "sr", tabindex: "-1", "aria-hidden": "true", onchange: read });
  const item = (words, click) => node("li", {}, node("button", { type: "button", class: "quiet", onclick: () => { menu.open = false; click(); } }, words));
  const menu = node("details", { class: "menu" }, node("summary", {}, "More"), node("ul", {},
    item("Import CSV or JSON …", () => file.click()), item("Export as CSV", () => save("csv")), item("Export as JSON", () => save("json")),
    item("Tidy: drop anchors made of others", () => act("tidy")), state.scenario ? item("Back to the example’s anchors", () => act("reset")) : null,
    state.rows.length ? item("Delete all", () => act("clear")) : null));
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.firstChild.focus(); } });
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget) && event.relatedTarget) menu.open = false; });
  return node("div", { class: "more" }, menu, file);
}
async function suggest() {
  say("Looking for names and expressions of the text’s own …");
  await act("suggest");
}
/* A language model reads passage by passage, which takes a while: the table can be used meanwhile. */
async function askModel() {
  const asked = await act("ask");
  if (!asked || !asked.job) return;
  const end = window.forgetting.followJob(server.look, asked.job, (now) => {
    if (!element.isConnected) end();
    else if (now.state === "done") act("look").then(() => say(now.value.said));
    else if (now.state === "failed") say([now.message, now.hint].filter(Boolean).join(" "), true);
    else fill(said, window.forgetting.waiting(now));
  });
}
async function read(event) {
  const file = event.target.files[0];
  event.target.value = "";
  if (!file) return;
  if (file.size > 10_000_000) return say(`“${file.name}” is over 10 MB. Is it a dictionary?`, true);
  act("import", { format: /\.json$/i.test(file.name) ? "json" : "csv", content: await file.text() });
}
async function save(format) {
  const found = await act("export", { format });
  if (!found || !found.file) return;
  const mark = format === "csv" && /[^\x00-\x7f]/.test(found.content) ? "\ufeff" : ""; // spreadsheet programs need it for accents
  const link = node("a", { href: URL.createObjectURL(new Blob([mark + found.content], { type: "text/plain" })), download: found.file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`Saved as ${found.file}.`);
}

/* --- a new row --- */
function drawAdder() {
  if (adder.children.length) return;
  fill(adder,
    node("label", {}, node("span", { class: "sr" }, "New anchor"), node("input", { type: "text", name: "term", placeholder: "New anchor", autocomplete: "off" })),
    node("label", {}, node("span", { class: "sr" }, "Its generic translation"), node("input", { type: "text", name: "translations", placeholder: "Generic translation | another", autocomplete: "off" })),
    kindSelect("phrase", { name: "kind", "aria-label": "Kind of the new anchor" }),
    node("button", { type: "submit" }, "Add"));
}
async function add(event) {
  event.preventDefault();
  const form = new FormData(adder);
  if (!form.get("term").trim()) return adder.querySelector("input").focus();
  const found = await act("add", { anchor: { term: form.get("term"), translations: split(form.get("translations")), kind: form.get("kind"), enabled: true } });
  if (found && !found.refused) {
    adder.reset();
    adder.querySelector("input").focus();
  }
}
const split = (text) => text.split("|").map((one) => one.trim()).filter(Boolean);
function kindSelect(value, attributes) {
  return node("select", attributes, KINDS.map((kind) => node("option", { value: kind, selected: kind === value }, kind)));
}

/* --- rows --- */
function visible() {
  const wanted = view.filter.trim().toLocaleLowerCase();
  return state.rows.map((row, i) => [row, i]).filter(([row]) => {
    if (view.which === "problems" && !row.findings.length) return false;
    if (view.which === "absent" && (row.count || !row.enabled)) return false;
    if (view.which === "off" && row.enabled) return false;
    return !wanted || [row.term, ...row.translations, row.note].some((cell) => cell.toLocaleLowerCase().includes(wanted));
  });
}
const HEAD = [["on", "use"], ["term", "anchor"], ["translations", "generic translation"], ["kind", "kind"], ["count", "in text"], ["check", "check"], ["delete", ""]];
function drawRows() {
  const rows = visible();
  const head = node("div", { class: "anchor-row head", role: "row" }, HEAD.map(([key, words]) => node("span", { role: "columnheader", class: `c-${key}` }, words || node("span", { class: "sr" }, "delete"))));
  const rest = rows.length - view.shown;
  drawing = true; // a browser may tell of the focus that goes with the old rows
  fill(table, rows.length ? head : null, rows.slice(0, view.shown).map(([row, i]) => drawRow(row, i)),
    rest > 0 ? node("button", { type: "button", class: "quiet", onclick: () => { view.shown += 400; drawRows(); } }, `Show ${Math.min(rest, 400)} more of ${rows.length}`) : null);
  drawing = false;
  if (!rows.length) table.append(nothing());
  drawTotals();
}
function nothing() {
  const [title, words] = state.rows.length ? ["No anchor fits", "Clear the search, or show all anchors."]
    : ["No anchors yet", state.preview.pieces.length ? "Let the page suggest some from the text, add one above, or import a file." : "There is no text yet: choose one in step 1."];
  return node("div", { class: "empty" }, node("h3", {}, title), node("p", {}, words));
}
function drawRow(row, i) {
  const problem = row.findings.find((one) => one.severity === "error") || row.findings[0];
  const hint = `finding-${i}`;
  const cell = (name, ...children) => node("span", { role: "cell", class: `c-${name}` }, ...children);
  const input = (field, value, label) => node("input", {
    type: "text", value, "aria-label": `${label} of row ${i + 1}`, "data-key": `${i}:${field}`, "data-row": i, "data-field": field, "data-was": row.term, autocomplete: "off", dir: "auto", title: value,
    "aria-invalid": problem && problem.severity === "error" && problem.field === field ? "true" : null, "aria-describedby": problem ? hint : null,
  });
  const kind = kindSelect(row.kind, { "aria-label": `Kind of “${row.term}”`, "data-key": `${i}:kind`, "data-row": i, "data-field": "kind" });
  const others = row.findings.length > 1 ? ` (and ${row.findings.length - 1} more)` : "";
  const check = !row.enabled && !problem ? node("span", { class: "off" }, "off")
    : problem ? node("span", { id: hint, class: `finding ${problem.severity}`, title: row.findings.map((one) => one.text).join("\n") }, node("b", { "aria-hidden": "true" }, problem.severity === "error" ? "✗ " : "⚠ "), node("span", { class: "sr" }, `${problem.severity}: `), problem.text, others)
    : node("span", { class: "fine" }, node("span", { "aria-hidden": "true" }, "✓"), node("span", { class: "sr" }, "fine"));
  return node("div", { class: `anchor-row${row.enabled ? "" : " switched-off"}${problem ? ` has-${problem.severity}` : ""}`, role: "row", "data-row": i },
    cell("on", node("button", { type: "button", class: "switch", role: "switch", "aria-checked": String(row.enabled), "aria-label": `Use “${row.term}”`, "data-key": `${i}:on`, onclick: () => act("switch", { row: i, was: row.term, on: !row.enabled }, `${i}:on`) })),
    cell("term", input("term", row.term, "Anchor")),
    cell("translations", input("translations", row.translations.join(" | "), "Generic translation")),
    cell("kind", kind),
    cell("count", row.count ? node("button", { type: "button", class: "quiet count", title: "Show it in the text", "aria-label": `${row.count} times in the text; show the first`, onclick: () => showInText(i) }, String(row.count)) : node("span", { class: "none" }, "0")),
    cell("check", check),
    cell("delete", node("button", { type: "button", class: "quiet", "aria-label": `Delete “${row.term}”`, "data-key": `${i}:delete`, onclick: () => act("delete", { row: i, was: row.term }, `${i}:delete`) }, "✕")));
}
function drawTotals() {
  const on = state.rows.filter((row) => row.enabled).length;
  const which = [["all", `All ${state.rows.length}`], ["problems", `To look at (${state.rows.filter((row) => row.findings.length).length})`], ["absent", `Not in the text (${state.rows.filter((row) => row.enabled && !row.count).length})`], ["off", `Off (${state.rows.length - on})`]];
  fill(totals, node("label", {}, "Show ", node("select", { "data-key": "which", onchange: (event) => { view.which = event.target.value; view.shown = ROWS_AT_ONCE; drawRows(); } }, which.map(([key, words]) => node("option", { value: key, selected: key === view.which }, words)))),
    node("span", {}, `${on} in use, ${state.found.toLocaleString("en")} places in the text`),
    state.errors ? node("span", { class: "error" }, `✗ ${state.errors} with an error`) : null,
    state.warnings ? node("span", { class: "warning" }, `⚠ ${state.warnings} worth a look`) : null);
}

/* --- editing in place --- */
/* Where row i, which held `was` when there were `count` rows, is now; -1 where it is gone. */
const rowNow = (i, was, count) => (state.rows.length === count ? i : state.rows.findIndex((row) => row.term === was));
function commit(input) {
  const i = Number(input.dataset.row);
  const row = state.rows[i];
  if (!row) return;
  const before = input.dataset.sent ?? (input.dataset.field === "translations" ? row.translations.join(" | ") : row[input.dataset.field]);
  if (input.value.trim() === before) return;
  input.dataset.sent = input.value.trim();
  const [field, count, value] = [input.dataset.field, state.rows.length, input.dataset.field === "translations" ? split(input.value) : input.value];
  act("edit", () => {
    const now = rowNow(i, row.term, count);
    const { term, translations, kind, enabled, note } = state.rows[now] || row;
    return { row: now, was: term, anchor: { term, translations, kind, enabled, note, [field]: value } };
  }).then((found) => { if (!found) delete input.dataset.sent; });
}
/* A value that was put back after a redrawing fires no "change" when it is left. */
for (const told of ["change", "focusout"]) table.addEventListener(told, (event) => { if (event.target.dataset.field && !drawing) commit(event.target); });
table.addEventListener("keydown", (event) => {
  const input = event.target;
  if (!input.dataset || !input.dataset.field) return;
  const row = state.rows[Number(input.dataset.row)];
  if (event.key === "Escape" && input.tagName === "INPUT") {
    input.value = input.dataset.field === "translations" ? row.translations.join(" | ") : row[input.dataset.field];
  } else if (input.tagName === "INPUT" && (event.key === "Enter" || event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const all = [...table.querySelectorAll(`input[data-field="${input.dataset.field}"]`)];
    const next = all[all.indexOf(input) + (event.key === "ArrowUp" ? -1 : 1)];
    if (next) { next.focus(); next.select(); } else commit(input);
  }
});
element.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  const input = event.target.closest("input[type=text], input[type=search]");
  if (input && input.value !== input.defaultValue) return; // the browser takes back what was typed just now
  event.preventDefault();
  act(event.shiftKey ? "redo" : "undo");
});

/* --- the text with its marks --- */
function drawPreview() {
  const { page, pages, pieces } = state.preview;
  if (!pieces.length) return fill(preview, node("h2", {}, "The text with its anchors"), node("p", { class: "hint" }, "There is no text yet."));
  const several = state.rows.some((row) => row.enabled && row.translations.length > 1);
  const turn = (by, words, label) => node("button", { type: "button", class: "quiet", "aria-label": label, disabled: page + by < 0 || page + by >= pages, onclick: () => { view.page = page + by; act("look"); } }, words);
  fill(preview,
    node("div", { class: "row spread" }, node("h2", {}, "In the text"),
      window.forgetting.switcher("What to show", [["both", "both"], ["source", "original"], ["translated", "translated"]], view.text, (now) => { view.text = now; body.dataset.show = now; })),
    null);
  const body = node("div", { class: "book marked", tabindex: "0", role: "region", "aria-label": "A page of the text", dir: "auto", "data-show": view.text },
    pieces.map(([text, row, translation]) => (row === undefined ? text : node("button", {
      type: "button", class: "mark", "data-mark": row, title: `${text} → ${translation}. Click to edit.`, onclick: () => editRow(row),
    }, node("del", {}, text), node("span", { class: "arrow", "aria-label": "becomes" }, "→"), node("ins", {}, translation)))));
  preview.append(body, node("div", { class: "row spread pages" }, node("span", {}, turn(-1, "◀", "Page before"), ` page ${page + 1} of ${pages} `, turn(1, "▶", "Next page")),
    several ? node("button", { type: "button", class: "quiet", onclick: () => { view.seed += 1; act("look"); } }, "Draw other translations") : null));
}
function editRow(row) {
  view.filter = "";
  view.which = "all";
  view.shown = Math.max(view.shown, row + 20);
  drawToolbar();
  drawRows();
  const input = table.querySelector(`input[data-key="${row}:translations"]`);
  if (!input) return;
  input.scrollIntoView({ block: "center", behavior: "smooth" });
  input.focus({ preventScroll: true });
  input.select();
}
async function showInText(row) {
  const page = state.preview.pages_of[row];
  if (page >= 0 && page !== view.page) {
    view.page = page;
    await act("look");
  }
  const mark = preview.querySelector(`[data-mark="${row}"]`);
  if (!mark) return;
  mark.scrollIntoView({ block: "nearest", behavior: "smooth" });
  mark.focus({ preventScroll: true });
}

/* --- all of it; the focus comes back to where it was --- */
function draw(focus) {
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const cell = active && active.dataset.was !== undefined ? active : null;
  const answered = cell && !asked && cell.dataset.sent === cell.value.trim();
  const typed = cell && !answered && cell.value !== cell.defaultValue ? cell.value : null; // the table does not know it yet
  const key = typed === null ? focus || (active && active.dataset.key) : `${rowNow(Number(cell.dataset.row), cell.dataset.was, rowsDrawn)}:${cell.dataset.field}`;
  const [from, to] = active && active.tagName === "INPUT" && active.type === "text" ? [active.selectionStart, active.selectionEnd] : [null, null];
  drawToolbar();
  drawAdder();
  drawRows();
  rowsDrawn = state.rows.length;
  drawPreview();
  if (!key) return;
  const again = element.querySelector(`[data-key="${key}"]`) || (key.endsWith(":delete") && [...table.querySelectorAll("[data-key$=':delete']")].pop());
  const target = again && again.disabled ? toolbar.querySelector("[data-key]:not(:disabled)") : again;
  if (!target || target === document.activeElement) return;
  target.focus({ preventScroll: true });
  if (typed !== null && target.dataset.key === key) {
    target.value = typed;
    if (cell.dataset.sent !== undefined) target.dataset.sent = cell.dataset.sent;
  }
  if (from !== null && target.type === "text") target.setSelectionRange(from, to);
}
watch("value", () => {
  if (!props.value) return;
  if (props.value.draft !== draft) Object.assign(view, { filter: "", which: "all", shown: ROWS_AT_ONCE, page: 0, seed: 0 });
  draft = props.value.draft;
  if (!props.value.rows) return say(props.value.refused || "", true);
  state = props.value;
  draw(null);
  say("");
});
