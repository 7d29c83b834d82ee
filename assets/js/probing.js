/*
 * What an evaluation found: two questions with their figures, the attacks, the evidence.
 * value: {run, name, evaluation: id or "", evaluations: [{id, name, suite, state}], waiting}
 * server: look({evaluation}), read({evaluation, part}), file({evaluation, what})
 */
const { element: node, fill, percent, token, intervals, lines, switcher, problem, roleClass, roleTerm, answered } = window.forgetting;
const ANSWERS = { yes: "yes", partly: "partly", no: "no", unknown: "not known" };
const MAIN = ["baseline", "unlearned", "never_taught"];
const FIRST_ROWS = 20;
const BETTER = { lower: "lower is better", higher: "higher is better", same: "should stay as before" };
let shown = "";  // the evaluation that is drawn
let found = null;
let openEvidence = null;

const rowsOf = (figure, only) => Object.entries(figure.cells).filter(([role]) => !only || only.includes(role))
  .map(([role, cell]) => ({ role, title: titleOf(role), ...cell }));
const titleOf = (role) => (found.roles.find((one) => one.role === role) || {}).title;

/* ---- how a figure is made ---- */
function howItIsMade(about, words = "What is this?") {
  const lines_ = [["Reading", about.reading], ["Formula", about.formula], ["Source", about.source]].filter(([, text]) => text);
  if (!lines_.length) return null;
  return node("details", { class: "about-figure" }, node("summary", {}, words), node("dl", {}, lines_.flatMap(([name, text]) => [node("dt", {}, name), node("dd", {}, text)])));
}
function perfectLine(perfect) {
  return node("p", { class: "perfect-line" }, perfect ? [node("span", { class: "perfect-mark", "aria-hidden": "true" }), "A perfect unlearner: ", node("strong", {}, perfect.text), perfect.whose ? node("span", { class: "hint" }, ` (${perfect.whose})`) : null] : node("span", { class: "hint" }, "What a perfect unlearner would score is not known here."));
}

/* ---- the two questions ---- */
function figureCard(figure, verdict) {
  const check = (verdict.checks || []).find((one) => one.name === figure.id);
  const after = figure.cells.unlearned;
  return node("section", { class: "figure-card", "aria-label": figure.title },
    node("div", { class: "row spread" }, node("h4", {}, figure.title), check ? node("span", { class: `chip ${check.passed ? "passed" : "missed"}`, title: check.text }, check.passed ? "✓ within its limit" : "✗ beyond its limit") : node("span", { class: "hint small" }, BETTER[figure.better] || "")),
    intervals(rowsOf(figure, MAIN), { perfect: figure.perfect, caption: figure.title }),
    perfectLine(figure.perfect),
    after && after.note ? node("p", { class: "hint small" }, `After: ${after.note}.`) : null,
    node("div", { class: "row figure-foot" }, howItIsMade(figure), figure.part ? node("button", { type: "button", class: "quiet small", onclick: () => showPart(figure.part) }, "See every prompt") : null));
}
function questionCard(question) {
  const { verdict } = question;
  return node("section", { class: "question card", "data-answer": verdict.answer || "unknown", "aria-label": question.title },
    node("h2", {}, question.title, " ", node("strong", { class: "answer" }, ANSWERS[verdict.answer] || ANSWERS.unknown)),
    node("p", { class: "hint" }, question.asks),
    verdictWords(verdict),
    question.figures.map((figure) => figureCard(figure, verdict)));
}
/* The verdict's sentence with what it follows from as a list, each with its limit. */
function verdictWords(verdict) {
  const said = (verdict.checks || []).map((check) => check.text).join("; ");
  const at = said ? verdict.text.indexOf(said) : -1;
  if (at < 0) return verdict.text ? node("p", { class: "verdict-words" }, verdict.text) : null;
  const tail = verdict.text.slice(at + said.length).replace(/^[.\s]+/, "");
  const lead = verdict.text.slice(0, at).trim();  // more than the answer, which stands above?
  return [lead.includes(" ") ? node("p", { class: "verdict-words" }, lead) : null,
    node("ul", { class: "checks" }, verdict.checks.map((check) => node("li", { class: check.passed ? "passed" : "missed" }, node("span", { class: "check-mark" }, check.passed ? "✓ " : "✗ ", node("span", { class: "sr" }, check.passed ? "passed: " : "failed: ")), check.text))),
    tail ? node("p", { class: "hint" }, tail) : null];
}
function everyFigure() {
  const figures = found.questions.flatMap((question) => [...question.figures, ...question.more].map((figure) => [question.title, figure]));
  if (!figures.length) return null;
  const cell = (figure, role) => {
    const own = figure.cells[role];
    return node("td", {}, own ? [own.text, own.interval ? node("small", {}, own.interval) : null] : "–");
  };
  return node("details", { class: "every-figure" }, node("summary", {}, `Every figure of every model (${figures.length})`),
    node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Every figure" }, node("table", { class: "runs-table figure-table" },
      node("thead", {}, node("tr", {}, node("td", {}), found.roles.map((role) => node("th", { scope: "col", class: roleClass(role.role), title: role.says }, node("span", { class: "swatch", "aria-hidden": "true" }), role.title)), node("th", { scope: "col" }, "perfect"))),
      node("tbody", {}, figures.map(([, figure]) => node("tr", {}, node("th", { scope: "row" }, node("span", {}, figure.title), howItIsMade(figure, BETTER[figure.better])),
        found.roles.map((role) => cell(figure, role.role)), node("td", {}, figure.perfect ? figure.perfect.text : "–")))))));
}

/* ---- attacks ---- */
function attackCard(attack) {
  const verdict = attack.brings_back === null ? ["", "cannot be judged"] : attack.brings_back ? ["missed", "brings it back"] : ["passed", "does not bring it back"];
  const cells = rowsOf(attack);
  return node("li", { class: "attack card", "data-attack": attack.id },
    node("div", { class: "row spread" }, node("h3", {}, attack.title), node("span", { class: `chip ${verdict[0]}` }, verdict[1])),
    node("p", { class: "hint" }, attack.what),
    node("div", { class: "attack-charts" },
      cells.length ? node("div", {}, node("h4", {}, attack.unit), intervals(cells, { perfect: attack.perfect, caption: `${attack.title}: ${attack.unit}` }), attack.perfect ? perfectLine(attack.perfect) : null,
        cells.some((cell) => cell.plain !== undefined) ? node("p", { class: "hint small" }, node("span", { class: "plain-mark", "aria-hidden": "true" }), "asked plainly", cells.some((cell) => cell.back) ? ";  ↩ brought back" : "") : null) : null,
      node("div", {}, attack.series.length ? [node("h4", {}, `${attack.axis.y || attack.unit} over ${attack.axis.x || "steps"}`), lines(attack.series, { x: attack.axis.x, y: attack.axis.y, label: attack.title })] : null,
        node("p", { class: "attack-words" }, attack.text), attack.cost ? node("p", { class: "hint small" }, `What it takes: ${attack.cost}`) : null,
        node("div", { class: "row figure-foot" }, howItIsMade(attack.about, "Formula, source, reading"), attack.part ? node("button", { type: "button", class: "quiet small", onclick: () => showPart(attack.part) }, "See the prompts") : null))));
}
function attacks() {
  if (!found.attacks.length) return null;
  const back = found.attacks.filter((attack) => attack.brings_back).length;
  const judged = found.attacks.filter((attack) => attack.brings_back !== null).length;
  const unsure = found.attacks.length - judged;
  return node("section", { class: "probe-part" }, node("h2", {}, "Attacks: can it be brought back?"),
    node("p", { class: "lead" }, judged ? `${back || "None"} of ${judged} attacks bring${back > 1 ? "" : "s"} the text back${unsure ? `; ${unsure} more could not be judged` : ""}.` : "Of none of these attacks can it be said whether it brings the text back."),
    node("p", { class: "hint" }, "One rule for all of them. ", found.rule),
    node("ul", { class: "attacks" }, found.attacks.map(attackCard)));
}

/* ---- evidence ---- */
/* Whether the model after forgetting knows it still: rightly answered, named, or clearly likelier than by chance. */
function known(row) {
  const [cell, never] = [row.cells.unlearned, row.cells.never_taught];
  if (!cell) return false;
  if (cell.leak === true || cell.correct === true || cell.grade >= 2) return true;
  return cell.correct === undefined && typeof cell.p === "number" && cell.p - (never && typeof never.p === "number" ? never.p : 0) >= 0.1;
}
function changed(row) {
  const [a, b] = [row.cells.baseline, row.cells.unlearned];
  return a && b && (a.text !== b.text || a.correct !== b.correct || Math.abs((a.p || 0) - (b.p || 0)) >= 0.1);
}
const FILTERS = {
  all: ["all", () => true],
  known: ["still known after", known],
  changed: ["changed by forgetting", changed],
};
const GRADES = ["nothing of the text", "faint", "its themes", "its names"];

function cellNode(role, cell) {
  const marks = [
    cell.p !== undefined ? node("span", { class: "chip" }, percent(cell.p)) : null,
    cell.plain !== undefined ? node("span", { class: "hint small" }, `asked plainly ${percent(cell.plain)}`) : null,
    cell.grade !== undefined ? node("span", { class: `chip ${cell.grade >= 2 ? "missed" : ""}`, title: GRADES[cell.grade] || null }, `grade ${cell.grade}`) : null,
    cell.correct !== undefined ? node("span", { class: "chip" }, cell.correct ? "✓ right" : "✗ wrong") : null,
    cell.leak !== undefined ? node("span", { class: `chip ${cell.leak ? "missed" : ""}` }, cell.leak ? "leaks" : "no leak") : null,
  ];
  return node("div", { class: `said ${roleClass(role.role)}` }, node("h5", { title: roleTerm(role.role) }, node("span", { class: "swatch", "aria-hidden": "true" }), role.title),
    cell.text !== undefined ? node("p", { class: "book", dir: "auto" }, cell.text.trim() || node("span", { class: "hint" }, "(nothing)")) : null,
    node("div", { class: "row marks" }, marks, cell.more.map(([name, text]) => node("span", { class: "hint small" }, `${name}: ${text}`))),
    cell.top ? node("p", { class: "hint small" }, "next: ", cell.top.map(([text, p]) => node("span", { class: "next-word" }, token(text), ` ${percent(p)}`))) : null);
}
function evidenceRow(row, roles) {
  return node("li", { class: "evidence-row" },
    node("p", { class: "asked book", dir: "auto" }, row.prompt, row.wanted ? [" ", node("strong", { class: "wanted" }, row.wanted)] : null, row.kind && row.kind !== "probe" ? node("span", { class: "chip" }, row.kind) : null),
    row.choices.length ? node("p", { class: "hint small" }, `Choices: ${row.choices.join(" · ")}`) : null,
    node("div", { class: "said-grid" }, roles.filter((role) => row.cells[role.role]).map((role) => cellNode(role, row.cells[role.role]))));
}

function drawEvidence(place, data) {
  const state = { filter: "all", words: "", most: FIRST_ROWS, roles: new Set(data.roles.map((role) => role.role).filter((role) => MAIN.includes(role))) };
  const list = node("ol", { class: "evidence-rows" });
  const count = node("p", { class: "hint", role: "status" });
  const more = node("button", { type: "button", onclick: () => { state.most += 5 * FIRST_ROWS; draw(); } });
  function draw() {
    const words = state.words.toLowerCase();
    const holds = (row) => !words || [row.prompt, row.wanted, ...Object.values(row.cells).map((cell) => cell.text || "")].some((text) => text.toLowerCase().includes(words));
    const rows = data.rows.filter((row) => FILTERS[state.filter][1](row) && holds(row));
    const roles = data.roles.filter((role) => state.roles.has(role.role));
    fill(list, rows.slice(0, state.most).map((row) => evidenceRow(row, roles)));
    count.textContent = rows.length === data.rows.length ? `${rows.length} in all` : `${rows.length} of ${data.rows.length}`;
    more.hidden = rows.length <= state.most;
    more.textContent = `Show ${Math.min(5 * FIRST_ROWS, rows.length - state.most)} more`;
  }
  const box = (role) => {
    const input = node("input", { type: "checkbox", onchange: (event) => { if (event.target.checked) state.roles.add(role.role); else state.roles.delete(role.role); draw(); } });
    input.checked = state.roles.has(role.role);
    return node("label", { class: `role-box ${roleClass(role.role)}` }, input, node("span", { class: "swatch", "aria-hidden": "true" }), role.title);
  };
  fill(place, node("div", { class: "row evidence-tools" },
    node("input", { type: "search", "aria-label": "Search prompts and answers", placeholder: "Search", oninput: (event) => { state.words = event.target.value; state.most = FIRST_ROWS; draw(); } }),
    switcher("Which to show", Object.entries(FILTERS).map(([key, [words]]) => [key, words]), "all", (key) => { state.filter = key; state.most = FIRST_ROWS; draw(); }),
    node("fieldset", { class: "role-boxes" }, node("legend", { class: "sr" }, "Whose answers"), data.roles.map(box))), count, list, more);
  draw();
}

async function showPart(part) {
  const place = element.querySelector(".evidence-place");
  for (const button of element.querySelectorAll(".evidence-parts button")) button.setAttribute("aria-pressed", String(button.dataset.part === part));
  openEvidence = part;
  const data = await answered(server.read({ evaluation: shown, part }));
  if (openEvidence !== part) return;
  if (data.error) fill(place, problem(data.error));
  else drawEvidence(place, data);
  element.querySelector(".probe-evidence").scrollIntoView({ block: "start" });
}
function evidence() {
  if (!found.parts.length) return null;
  return node("section", { class: "probe-part probe-evidence" }, node("h2", {}, "Evidence"), node("p", { class: "lead" }, "Every question that was asked and every answer, side by side."), node("p", { class: "hint" }, "Perplexities are of whole texts and have no questions. Where an attack has several ways of asking, all are listed; those marked “counted: yes” make up the model’s figure."),
    node("div", { class: "row evidence-parts" }, found.parts.map((part) => node("button", { type: "button", "data-part": part.part, "aria-pressed": "false", onclick: () => showPart(part.part) }, part.title, node("span", { class: "hint small" }, String(part.count))))),
    node("div", { class: "evidence-place" }));
}

/* ---- files ---- */
async function download(what, button) {
  button.disabled = true;
  const made = await answered(server.file({ evaluation: shown, what }));
  button.disabled = false;
  if (made.error) { fill(element.querySelector(".probe-said"), problem(made.error)); return; }
  const link = node("a", { href: URL.createObjectURL(new Blob([made.text], { type: what === "json" ? "application/json" : "text/csv;charset=utf-8" })), download: made.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
function head(value) {
  const menu = value.evaluations.length > 1 ? node("label", { class: "choice" }, node("span", {}, "Evaluation"), node("select", { onchange: (event) => window.forgetting.visit({ step: "probe", run: value.run, evaluation: event.target.value }) },
    value.evaluations.map((one) => node("option", { value: one.id, selected: one.id === shown }, one.name)))) : node("p", { class: "hint" }, value.evaluations.length ? value.evaluations[0].name : "");
  const button = (what, words) => node("button", { type: "button", onclick: (event) => download(what, event.currentTarget) }, words);
  return node("div", { class: "row spread probe-head" }, menu, node("div", { class: "row" }, node("span", { class: "hint" }, "Download"), button("json", "JSON"), button("figures", "Figures (CSV)"), button("evidence", "Evidence (CSV)")));
}

function whoIsAsked() {
  const told = found.roles.filter((role) => role.says);
  return told.length ? node("details", { class: "about-figure" }, node("summary", {}, `Who is asked: ${found.roles.map((role) => role.title).join(", ")}`),
    node("dl", {}, told.flatMap((role) => [node("dt", { class: roleClass(role.role) }, node("span", { class: "swatch", "aria-hidden": "true" }), role.title), node("dd", {}, role.says)]))) : null;
}
function nothing(value) {
  return value.waiting ? null : node("div", { class: "empty" }, node("h3", {}, "This run has not been probed yet"),
    node("p", {}, "The quick evaluation asks every prompt and measures what else the model still knows. The full one also attacks it: other wordings, facts in the prompt, many tries, learning it anew, fewer bits, a look into its layers."));
}
async function update() {
  const value = props.value;
  if (!value) { fill(element); shown = ""; return; }
  if (!value.evaluation) { fill(element, nothing(value)); shown = ""; return; }
  const mine = value.evaluation;
  const again = shown === mine && found;
  if (!again) fill(element, node("div", { class: "skeleton probe-waiting" }, "Reading …"));
  shown = mine;
  const answer = await answered(server.look({ evaluation: mine }));
  if (shown !== mine || (again && JSON.stringify(answer) === JSON.stringify(found) && element.querySelector(".probe-head"))) return;
  if (answer.error) { found = null; fill(element, problem(answer.error)); return; }
  found = answer;
  openEvidence = null;
  fill(element, head(value), whoIsAsked(), node("div", { class: "probe-said" }, found.complete ? null : node("p", { class: "note warning", role: "status" }, "This evaluation has not come to its end: some figures are missing.")), node("div", { class: "questions" }, found.questions.map(questionCard)), everyFigure(), attacks(), evidence());
}
watch("value", update);
update();
