/*
 * What a run measured before and after: the biggest changes, and the controls that should not have changed.
 * value: null | {probes: [{prompt, target, before, after}], controls: [the same], note, verdicts, table (the evaluation's)}
 * event: "tried" {prompt} (look at this prompt)
 */
const { element: node, fill, token, bar, percent, scaled, verdictCards, roleName } = window.forgetting;
const FIRST = 12;

const points = (change) => (Math.abs(change) < 5e-5 ? "0" : `${change > 0 ? "+" : "−"}${percent(Math.abs(change)).replace(" %", "")}`);

function row(one) {
  const change = one.after - one.before;
  return node("tr", {},
    node("th", { scope: "row" }, node("button", { type: "button", class: "token-button", title: "Try this prompt", onclick: () => trigger("tried", { prompt: one.prompt }) },
      node("bdi", {}, one.prompt), " ", node("strong", {}, token(one.target)))),
    node("td", { "data-role": "before" }, bar("baseline", one.before, percent(one.before), scaled("sqrt", one.before))),
    node("td", { "data-role": "after" }, bar("unlearned", one.after, percent(one.after), scaled("sqrt", one.after))),
    node("td", { "data-role": "change", class: "change" }, points(change)));
}

function table(title, says, rows) {
  if (!rows.length) return null;
  const body = node("tbody", {}, rows.slice(0, FIRST).map(row));
  const more = rows.length > FIRST
    ? node("button", { type: "button", onclick: (event) => { body.append(...rows.slice(FIRST).map(row)); event.currentTarget.remove(); } }, `Show all ${rows.length}`)
    : null;
  return node("section", { class: "measured-part" }, node("h4", {}, title), node("p", { class: "hint" }, says),
    node("table", { class: "token-bars measured" }, node("thead", {}, node("tr", {}, ["prompt and word", "before", "after", "change, in points"].map((words) => node("th", { scope: "col" }, words)))), body), more);
}

/* Every figure before and after, and how to read it. */
function figures(found) {
  if (!found || !found.rows || !found.rows.length) return null;
  return node("details", { class: "figures-table" }, node("summary", {}, "Every figure, before and after"),
    node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Every figure" }, node("table", { class: "runs-table" },
      node("thead", {}, node("tr", {}, node("td", {}), found.roles.map((role) => node("th", { scope: "col" }, roleName(role))), node("th", { scope: "col" }, "how to read it"))),
      node("tbody", {}, found.rows.map((one) => node("tr", {}, node("th", { scope: "row" }, one.title),
        found.roles.map((role) => node("td", {}, one.cells[role] ? one.cells[role].text : "–")), node("td", { class: "hint" }, one.reading)))))));
}

function update() {
  const value = props.value;
  if (!value || !(value.probes.length + value.controls.length)) {
    fill(element, value ? node("div", { class: "empty" }, node("p", {}, value.note || "This run has measured nothing yet.")) : null);
    return;
  }
  fill(element, verdictCards(value.verdicts), figures(value.table), value.note ? node("p", { class: "hint" }, value.note) : null,
    table("Biggest changes", "Words that only the text tells. They should have become unlikely.", value.probes),
    table("Controls", "Words that have nothing to do with the text. They should be as they were; those that moved most stand first.", value.controls));
}
watch("value", update);
update();
