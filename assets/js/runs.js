/*
 * The list of runs. value: {draft, new?}
 * server: rows({draft}), act({act, run, draft, …}), beside({runs}), pack({run, what}), look({job})
 * event: "ready" {job} (a file was made)
 */
const { element: node, svg, fill, percent, figure, duration, curves, followJob, waiting, problem, answered, heard } = window.forgetting;
const WORDS = { draft: "not started", queued: "waiting", running: "running", cancelling: "stopping", succeeded: "done", failed: "failed", cancelled: "stopped", interrupted: "interrupted" };
const ACTIVE = ["queued", "running", "cancelling"];
const ANSWERS = { yes: "yes", partly: "partly", no: "no", unknown: "not known" };
let draft = "";
let shown = { runs: [], trash: [] };
let drawnKey = "";
let open = null;  // the run whose drawer is open
let timer = null;
let stopPacking = null;
const chosen = new Set();

const said = node("div", { class: "runs-said" });
const tools = node("div", { class: "row runs-tools" });
const list = node("ul", { class: "runs-list" });
const compared = node("section", { class: "runs-compared" });
const packing = node("div", { class: "runs-packing" });
const trash = node("details", { class: "runs-trash" });
fill(element, said, tools, list, packing, compared, trash);

function say(kind, words, undo) {
  fill(said, node("div", { class: `note ${kind} row spread`, role: kind === "error" ? "alert" : "status" }, node("span", {}, words),
    node("span", { class: "row" }, undo ? node("button", { type: "button", onclick: undo }, "Undo") : null,
      node("button", { type: "button", class: "quiet", "aria-label": "Dismiss this message", onclick: () => fill(said) }, "Dismiss"))));
}

async function deed(act, run, more = {}, undo = null) {
  const answer = await answered(server.act({ act, run, draft, ...more }));
  if (answer.error) say("error", answer.error);
  else say("good", answer.said, undo);
  await refresh();
  return !answer.error;
}

/* ---- one run ---- */
function sparkline(points) {
  if (points.length < 2) return node("span", { class: "spark" });
  const [width, height, last] = [96, 28, points[points.length - 1][0] || 1];
  const top = Math.max(...points.map((point) => point[1]), 1e-9);
  const path = points.map(([step, p], i) => `${i ? "L" : "M"}${((step / last) * (width - 6) + 2).toFixed(1)} ${(height - 4 - (p / top) * (height - 8)).toFixed(1)}`).join("");
  const end = points[points.length - 1];
  return svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Mean probability of the watched words: from ${percent(points[0][1])} to ${percent(end[1])}` },
    svg("path", { d: path, fill: "none" }), svg("circle", { cx: width - 4, cy: height - 4 - (end[1] / top) * (height - 8), r: 3 }));
}

function familiarity(run) {
  if (typeof run.before !== "number" || typeof run.after !== "number") return node("span", { class: "hint" }, run.whereabouts || (run.error ? "" : ACTIVE.includes(run.state) ? "" : "not measured"));
  return node("span", { class: "runs-figures" }, node("span", { title: window.forgetting.WORDS.familiarity }, "familiarity ", node("strong", {}, percent(run.before)), " → ", node("strong", {}, percent(run.after))),
    node("span", { class: "hint" }, `forgotten: ${ANSWERS[run.forgotten] || "–"} · intact: ${ANSWERS[run.intact] || "–"}`));
}

function rowFor(run) {
  const box = node("input", { type: "checkbox", "aria-label": `Choose ${run.name}`, onchange: (event) => { if (event.target.checked) chosen.add(run.id); else chosen.delete(run.id); drawTools(); } });
  box.checked = chosen.has(run.id);
  const more = node("button", { type: "button", class: "quiet", "aria-expanded": String(open === run.id), "aria-label": `What can be done with ${run.name}`, onclick: () => { open = open === run.id ? null : run.id; drawList(true); } }, "⋯");
  const facts = [run.text && `“${run.text}”`, run.model, run.preset && `preset ${run.preset}`, run.seconds && duration(run.seconds), run.created && new Date(run.created * 1000).toLocaleString()].filter(Boolean).join(" · ");
  return node("li", { class: "run-row card", "data-run": run.id },
    node("div", { class: "run-line" }, box,
      node("div", { class: "run-name" }, node("a", { href: run.evaluates ? `?step=probe&run=${run.evaluates}&evaluation=${run.id}` : `?step=unlearn&run=${run.id}`, onclick: (event) => go(event, placeOf(run)) }, node("bdi", {}, run.name)),
        node("span", { class: "chip live-chip", "data-state": run.state }, WORDS[run.state] || run.state), node("p", { class: "hint" }, node("bdi", {}, facts))),
      sparkline(run.spark || []), familiarity(run), more),
    run.error && run.error.message ? problem(run.error.message, run.error.hint) : null,
    run.problem ? problem(run.problem) : null,
    open === run.id ? drawer(run) : null);
}

/* Where a run is looked at; an evaluation where the run is probed that it is of. */
const placeOf = (run) => (run.evaluates ? { step: "probe", run: run.evaluates, evaluation: run.id } : { step: "unlearn", run: run.id });
function go(event, where) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  window.forgetting.visit(where);
}

function drawer(run) {
  const button = (words, press, kind = "", title = null) => node("button", { type: "button", class: kind, onclick: press, title }, words);
  const has = (role) => run.roles.includes(role);
  const idle = !ACTIVE.includes(run.state);
  const steps = node("input", { type: "number", min: "1", value: "20", "aria-label": "More steps" });
  const name = node("input", { type: "text", value: run.name, maxlength: "255", "aria-label": "Name of the run" });
  return node("div", { class: "run-drawer" },
    node("div", { class: "row" }, has("unlearned") ? button("Compare before and after", () => window.forgetting.visit({ step: "compare", run: run.id }), "primary") : null,
      has("unlearned") ? button("Probe it", () => window.forgetting.visit({ step: "probe", run: run.id, evaluation: "" })) : null,
      run.evaluates ? button("See what it found", () => window.forgetting.visit(placeOf(run)), "primary") : button("How its labels were made", () => window.forgetting.visit({ step: "inspector", run: run.id, block: "" })),
      run.evaluates ? null : button("Use these settings", async () => { if (await deed("copy", run.id)) window.forgetting.visit({ step: "unlearn", run: "" }); }),
      ["failed", "cancelled", "interrupted", "draft"].includes(run.state) ? button("Resume", () => deed("resume", run.id)) : null,
      ["queued", "running"].includes(run.state) ? button("Stop and keep", () => deed("stop", run.id)) : null),
    run.state === "succeeded" && !run.evaluates ? node("div", { class: "row" }, node("span", {}, "Go on for"), steps, node("span", {}, "steps"), button("Continue", () => deed("continue", run.id, { steps: Number(steps.value) }))) : null,
    idle ? node("div", { class: "row" }, node("span", {}, "Download"), run.evaluates ? null : button("Report", () => pack(run, "report")), has("unlearned") ? button("Adapter", () => pack(run, "adapter"), "", window.forgetting.WORDS.adapter) : null,
      has("unlearned") ? button("Whole model", () => pack(run, "model")) : null, button("Everything (zip)", () => pack(run, "run"))) : null,
    node("div", { class: "row" }, node("label", { class: "row" }, "Name", name), button("Rename", () => deed("rename", run.id, { name: name.value })),
      idle ? button("Delete", () => remove(run), "danger") : null));
}

async function remove(run) {
  chosen.delete(run.id);
  open = null;
  if (!await deed("delete", run.id, {}, () => deed("restore", run.id))) return;
  const named = new URLSearchParams(location.search);  // a run that is gone is not in the way of the other steps
  if (named.get("run") === run.id) window.forgetting.keep({ run: "", evaluation: "", block: "" });
  else if (named.get("evaluation") === run.id) window.forgetting.keep({ evaluation: "" });
}

/* ---- files ---- */
async function pack(run, what) {
  if (stopPacking) stopPacking();
  const answer = await answered(server.pack({ run: run.id, what }));
  if (answer.error) { say("error", answer.error); return; }
  packing.scrollIntoView({ block: "nearest" });
  stopPacking = followJob(server.look, answer.job, (state) => {
    if (state.state === "done") { fill(packing); trigger("ready", { job: answer.job }); } else if (state.state === "failed") fill(packing, problem(state.message, state.hint));
    else fill(packing, waiting(state));
  });
}

/* ---- several ---- */
function drawTools() {
  const all = [...chosen].filter((id) => shown.runs.some((run) => run.id === id));
  fill(tools, node("button", { type: "button", disabled: all.length < 2, onclick: () => compare(all) }, all.length < 2 ? "Choose runs to compare them" : `Compare ${all.length} runs`));
  tools.hidden = shown.runs.length < 2;
}

async function compare(ids) {
  const found = await answered(server.beside({ runs: ids }));
  if (found.error) { say("error", found.error); return; }
  const table = (title, rows) => (Object.keys(rows).length ? node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": title }, node("table", { class: "runs-table" }, node("caption", {}, title),
    node("thead", {}, node("tr", {}, node("td", {}), found.names.map((name) => node("th", { scope: "col" }, node("bdi", {}, name))))),
    node("tbody", {}, Object.entries(rows).map(([name, values]) => node("tr", {}, node("th", { scope: "row" }, name), values.map((value) => node("td", {}, shownValue(value)))))))) : null);
  const chart = curves({ label: "Mean probability of the watched words", height: 240, scale: "linear" });
  const series = found.curves.map((points, i) => ({ id: found.ids[i], name: found.names[i], kind: "probe", dash: ["", "7 4", "2 4", "9 3 2 3", "4 2", "1 3"][i], points })).filter((one) => one.points.length);
  fill(compared, node("div", { class: "row spread" }, node("h3", {}, "Side by side"), node("button", { type: "button", class: "quiet", "aria-label": "Close the comparison", onclick: () => fill(compared) }, "✕")),
    series.length ? [node("h4", {}, "Mean probability of the watched words over the steps"), chart.node,
      node("ol", { class: "runs-legend" }, series.map((one) => node("li", {}, node("bdi", {}, one.name))))] : [],
    table("Measured after forgetting", found.figures), table("Settings that differ", found.settings));
  chart.set(series);
  compared.scrollIntoView({ block: "start" });
}
function shownValue(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : figure(value);
  return ANSWERS[value] || String(value);
}

/* ---- the list ---- */
function drawList(force) {
  const key = JSON.stringify(shown);
  if (!force && key === drawnKey) return;
  if (!force && list.contains(document.activeElement) && ["text", "number"].includes(document.activeElement.type)) return;  // somebody is typing: next time
  drawnKey = key;
  const typed = [...list.querySelectorAll(".run-drawer input")].filter((one) => one.value !== one.defaultValue).map((one) => [`[data-run="${one.closest(".run-row").dataset.run}"] .run-drawer input[type=${one.type}]`, one.value]);
  const focus = document.activeElement && list.contains(document.activeElement) ? [document.activeElement.closest(".run-row").dataset.run, document.activeElement.getAttribute("aria-label") || document.activeElement.textContent] : null;
  fill(list, shown.runs.map(rowFor));
  for (const [where, value] of typed) { const again = list.querySelector(where); if (again) again.value = value; }
  if (!shown.runs.length) fill(list, node("li", { class: "empty" }, node("h3", {}, "No runs yet"), node("p", {}, "Start one: it takes some minutes, and you may close the page meanwhile."), node("p", {}, node("a", { class: "button primary", href: "?step=unlearn", onclick: (event) => go(event, { step: "unlearn", run: "" }) }, "Start a run"))));
  if (focus) {
    const row = list.querySelector(`[data-run="${focus[0]}"]`);
    const again = row && [...row.querySelectorAll("button, a, input")].find((one) => (one.getAttribute("aria-label") || one.textContent) === focus[1]);
    if (again) again.focus();
  }
  drawTools();
  trash.hidden = !shown.trash.length;
  fill(trash, node("summary", {}, `Trash (${shown.trash.length})`), node("ul", {}, shown.trash.map((run) => node("li", { class: "row spread" }, node("bdi", {}, run.name), node("button", { type: "button", onclick: () => deed("restore", run.id) }, "Put back")))));
}

async function refresh() {
  clearTimeout(timer);
  if (!draft) return;
  try {
    shown = await heard(server.rows({ draft }));
    drawList(false);
  } catch { /* the next round tries again */ }
  const busy = shown.runs.some((run) => ACTIVE.includes(run.state));
  if (document.visibilityState === "visible" && document.body.dataset.step === "runs") timer = setTimeout(refresh, busy ? 2000 : 8000);
}
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible" && document.body.dataset.step === "runs") refresh(); });
function update() {
  if (!props.value) return;
  draft = props.value.draft;
  refresh();
}
watch("value", update);
update();
