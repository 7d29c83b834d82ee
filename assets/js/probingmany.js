/*
 * Evaluations of several runs in one chart and one table.
 * value: {draft, run}     server: several({draft})
 */
const { element: node, fill, points, switcher } = window.forgetting;
const ANSWERS = { yes: "yes", partly: "partly", no: "no", unknown: "not known" };
let drawn = "";

const whole = (share) => `${Math.round(100 * share)} %`;
const change = (share) => `${share >= 0 ? "+" : "−"}${whole(Math.abs(share))}`;
function pointOf(one, key) {
  const y = one[key];
  const range = key === "forgotten" && typeof one.low === "number" && typeof one.high === "number";
  const label = one.role === "unlearned" ? one.name : one.title;
  const between = typeof one.least === "number" && typeof one.most === "number" ? ` (95 % interval ${change(one.least)} to ${change(one.most)})` : "";
  return { role: one.role, x: one.damage, left: one.least, right: one.most, y, low: range ? one.low : null, high: range ? one.high : null, label,
    says: `${one.name}, ${one.title}: ${whole(y)} forgotten, perplexity of unrelated prose ${change(one.damage)}${between}` };
}

function chart(found) {
  const place = node("div", {});
  const state = { key: "forgotten", others: true };
  const attacked = found.points.some((one) => typeof one.attacked === "number");
  function draw() {
    const first = found.evaluations.length ? found.evaluations[0].id : "";
    const all = found.points.filter((one) => typeof one[state.key] === "number" && (one.role === "unlearned" || (state.others && one.evaluation === first)));
    fill(place, all.length ? points(all.map((one) => pointOf(one, state.key)), { x: "rise of perplexity on unrelated prose (damage)", y: "forgotten", best: "best: all gone, nothing broken", label: "Forgetting against damage. The upper left is best." }) : node("p", { class: "hint" }, "No attack was tried."));
  }
  const box = node("input", { type: "checkbox", onchange: (event) => { state.others = event.target.checked; draw(); } });
  box.checked = true;
  draw();
  return node("div", {}, node("div", { class: "row spread" },
    attacked ? switcher("How much is forgotten", [["forgotten", "asked plainly"], ["attacked", "under the strongest attack"]], "forgotten", (key) => { state.key = key; draw(); }) : null,
    node("label", { class: "role-box" }, box, "other models of the newest evaluation too")), place,
    node("p", { class: "hint" }, "Forgotten: how far the probability of the text’s own words went from the model before (0 %) to one that never read it (100 %). Damage: how much more unrelated prose surprises the model. The lines are 95 % intervals: the upright one of what is forgotten, the level one of the damage (older evaluations do not have it)."));
}

function table(found) {
  const names = found.evaluations;
  const go = (one) => (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    window.forgetting.visit({ step: "probe", run: one.run, evaluation: one.id });
  };
  const line = (title, cells, hint) => node("tr", {}, node("th", { scope: "row", title: hint || null }, title), cells.map((cell) => node("td", {}, cell)));
  const shown = (cell, perfect) => (cell ? [cell.text, cell.interval ? node("small", {}, cell.interval) : null, perfect ? node("small", {}, `perfect ${perfect.text}`) : null] : "–");
  return node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Figures of all evaluations" }, node("table", { class: "runs-table figure-table" },
    node("thead", {}, node("tr", {}, node("td", {}), names.map((one) => node("th", { scope: "col" }, node("a", { href: `?step=probe&run=${one.run}&evaluation=${one.id}`, onclick: go(one) }, node("bdi", {}, one.name)))))),
    node("tbody", {}, line("Forgotten?", names.map((one) => ANSWERS[one.forgotten] || "–")), line("Intact?", names.map((one) => ANSWERS[one.intact] || "–")),
      line("Attacks that bring it back, of those judged", names.map((one) => (one.judged ? `${one.successful} of ${one.judged}` : one.attacks ? "could not be judged" : "none tried"))), line("Suite", names.map((one) => one.suite)),
      found.rows.map((row) => line(row.title, row.cells.map((cell, i) => shown(cell, row.perfect[i])), row.reading)))));
}

async function update() {
  const value = props.value;
  if (!value || !value.draft) { fill(element); return; }
  const found = await window.forgetting.answered(server.several({ draft: value.draft }));
  const key = JSON.stringify(found);
  if (key === drawn) return;
  drawn = key;
  if (found.error || !found.evaluations.length) { fill(element); return; }
  fill(element, node("section", { class: "probe-part" }, node("h2", {}, found.evaluations.length > 1 ? "All your evaluations" : "Forgetting against damage"),
    found.points.length ? chart(found) : null, found.evaluations.length > 1 ? table(found) : null));
}
watch("value", update);
update();
