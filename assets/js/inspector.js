/*
 * One block of a run: the text and its translation side by side, which places have a label, and at a chosen place
 * how the label comes about, with a slider for α.
 * value: null | {job, run, block} → {text, tokens, masks, words, labels, source: [[text, piece]], translation: [[text, piece]], piece, index, count, counts}
 *        | {…, place: {job, position}} the same block with a question about one place
 * server: look({job}), alpha({key, alpha}) → table | {error, gone?}     events: "block" {index}, "place" {position}
 */
const { element: node, fill, token, spoken, percent, followJob, waiting, problem, tokenBars, walkTokens, switcher } = window.forgetting;
const MASKS = ["has a label", "inside an anchor", "anchor mentioned before", "no matching place"];
let stops = [];
let shown = null;
let parts = null;
let chosen = -1;
let scale = "sqrt";

const lightUp = (piece) => { for (const pane of [parts.source, parts.translation]) for (const mark of pane.querySelectorAll("[data-piece]")) mark.classList.toggle("lit", piece !== null && mark.dataset.piece === String(piece)); };

function build() {
  const text = node("div", { class: "inspector-tokens", dir: "auto" });
  parts = {
    tools: node("div", { class: "row inspector-tools" }), source: text, translation: node("p", { class: "book inspector-translation", dir: "auto" }),
    legend: node("p", { class: "hint inspector-legend" }), place: node("section", { class: "inspector-place", "aria-live": "polite" }), wait: node("div", {}),
  };
  parts.walk = walkTokens(text, {
    ready: () => shown, show: (i) => lightUp(shown.piece[i]), hide: () => lightUp(null),
    pick: (i) => { mark(i); trigger("place", { position: i }); },
  });
  fill(element, parts.tools, parts.wait, node("div", { class: "inspector-panes" },
    node("section", {}, node("h4", {}, "The text, token by token"), text, parts.legend),
    node("section", {}, node("h4", {}, "What the baseline reads instead ", node("small", { class: "hint" }, "(generic translation)")), parts.translation)), parts.place);
}

function mark(i) {
  if (chosen >= 0 && parts.source.children[chosen]) parts.source.children[chosen].removeAttribute("aria-selected");
  chosen = i;
  if (parts.source.children[i]) parts.source.children[i].setAttribute("aria-selected", "true");
}

function drawTools() {
  const go = (index) => () => trigger("block", { index });
  const { index, count } = shown;
  const number = node("input", { type: "number", min: "1", max: String(count), value: String(index + 1), "aria-label": "Block", onchange: (event) => {
    const wanted = Math.min(count, Math.max(1, Number(event.target.value) || 1));
    trigger("block", { index: wanted - 1 });
  } });
  fill(parts.tools,
    node("button", { type: "button", disabled: index < 1, onclick: go(index - 1) }, "← Previous"),
    node("label", { class: "row" }, "Block ", number, ` of ${count}`),
    node("button", { type: "button", disabled: index + 1 >= count, onclick: go(index + 1) }, "Next →"));
}

function drawBlock() {
  drawTools();
  parts.source.setAttribute("aria-label", "The block, token by token. Arrow keys move, Enter asks what every model expects after it.");
  parts.walk.take(shown.tokens.map((piece, i) => {
    const span = node("span", { class: `token mask-${shown.masks[i]}${shown.piece[i] === null ? "" : " anchor"}` }, piece || "▫");
    if (shown.piece[i] !== null) span.dataset.piece = shown.piece[i];
    span.setAttribute("aria-label", `${spoken(piece)}: ${shown.piece[i] === null ? "" : "anchor, "}${MASKS[shown.masks[i]]}`);
    return span;
  }));
  fill(parts.translation, shown.translation.map(([text, piece]) => (piece === null ? text : node("mark", { "data-piece": String(piece), onpointerenter: () => lightUp(piece), onpointerleave: () => lightUp(null) }, text))));
  const swatch = (i) => node("span", { class: `token legend-token mask-${i}`, "aria-hidden": "true" }, "ab");
  fill(parts.legend, MASKS.map((words, i) => (shown.counts[i] ? node("span", { class: "legend-entry" }, swatch(i), ` ${words}: ${shown.counts[i]}`) : null)),
    node("span", { class: "legend-entry" }, node("span", { class: "token legend-token anchor", "aria-hidden": "true" }, "ab"), " anchor"));
}

/* ---- one place ---- */
function drawPlace(data) {
  const table = node("div", {});
  const label = node("p", { class: "inspector-label" });
  let asked = 0;
  function drawTable(found) {
    fill(table, tokenBars(found, { scale, marked: found.actual }));
    fill(label, ...labelWords(data, found));
  }
  const slider = node("input", { type: "range", min: "0", max: "10", step: "0.1", value: String(data.alpha), "aria-label": "α, how hard a token is pushed down that reinforcement raised", oninput: async (event) => {
    const alpha = Number(event.target.value);
    output.textContent = `α = ${alpha.toFixed(1)}`;
    const mine = ++asked;
    const found = await window.forgetting.answered(server.alpha({ key: data.key, alpha }));
    if (mine !== asked) return;
    if (found.gone) { event.target.disabled = true; trigger("place", { position: chosen }); }  // looked at too long ago: asked once more
    else if (found.error) fill(label, found.error);
    else { data = { ...data, ...found }; drawTable(data); }
  } });
  const output = node("output", {}, `α = ${Number(data.alpha).toFixed(1)}`);
  const canSlide = data.roles.includes("generic") && data.roles.includes("reinforced");
  fill(parts.place,
    node("h3", {}, "After “…", node("bdi", {}, data.before), "” the text goes on with ", token(data.actual || "")),
    node("p", { class: "note hint" }, data.mask),
    canSlide ? node("div", { class: "row inspector-alpha" }, node("label", { class: "row" }, "Push down what reinforcement raised: ", slider), output, node("span", { class: "hint" }, `This run used α = ${data.used}.`)) : null,
    node("div", { class: "row spread" }, label, switcher("Scale of the bars", [["linear", "linear"], ["sqrt", "square root"], ["log", "log"]], scale, (key) => { scale = key; drawTable(data); })), table,
    node("details", {}, node("summary", {}, "How the green column is made"), node("p", { class: "formula" }, "generic = before, on the translation − α · max(0, reinforced − before, on the translation)"),
      node("p", { class: "hint" }, `${data.centred ? "Compared as log-probabilities" : "Compared as raw logits"}${data.draws > 1 ? `, averaged over ${data.draws} translations` : ""}. Equation 1 of Eldan and Russinovich (2023).`)));
  drawTable(data);
}

function labelWords(data, found) {
  if (data.label && found.alpha === data.used) return ["Label of this place: ", ...data.label.flatMap(([word, p], i) => [i ? ", " : "", token(word), ` ${percent(p)}`])];
  const best = found.roles.includes("generic") ? [...found.rows].sort((a, b) => b.p.generic - a.p.generic)[0] : null;
  return best ? ["Likeliest generic token: ", token(best.token), ` ${percent(best.p.generic)}`] : [];
}

/* ---- jobs ---- */
function follow(job, place, done) {
  stops.push(followJob(server.look, job, (state) => {
    if (state.state === "done") { fill(place); done(state.value); } else if (state.state === "failed") fill(place, problem(state.message, state.hint));
    else fill(place, waiting(state));
  }));
}
let block = "";
function update() {
  stops.forEach((stop) => stop());
  stops = [];
  const value = props.value;
  if (!value) { block = ""; return fill(element); }
  if (value.error) { block = ""; return fill(element, problem(value.error, value.hint)); }
  const ask = () => {
    if (!value.place) return fill(parts.place, node("p", { class: "empty" }, "Choose a token above to see what the models expect after it."));
    mark(value.place.position);
    return follow(value.place.job, parts.place, drawPlace);
  };
  if (block === value.job && shown) return ask();
  build();
  [shown, chosen, block] = [null, -1, value.job];
  follow(value.job, parts.wait, (data) => { shown = data; drawBlock(); ask(); });
  return undefined;
}
watch("value", update);
update();
