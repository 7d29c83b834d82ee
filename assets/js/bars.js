/*
 * What every role would say next at one place: a table of bars, where known the curve over the training steps.
 * value: null | {job | rows, roles, …}, with heading, context, closable; the answer may bring actual, translated, curve
 * event: "pick" {token, context} (continue from this token)
 */
const { element: node, fill, followJob, waiting, problem, tokenBars, curves, token, percent, switcher } = window.forgetting;
let stop = null;
let scale = "sqrt";

function head(value) {
  return node("div", { class: "row spread" },
    node("h4", {}, value.heading || "", value.token !== undefined ? token(value.token) : null),
    value.closable ? node("button", { type: "button", class: "quiet", "aria-label": "Unpin", onclick: () => fill(element) }, "✕") : null);
}

function curveOf(found) {
  if (!found || !found.points || !found.points.length) return null;
  const chart = curves({ label: "Probability of this token over the training steps", height: 170, scale });
  chart.set([{ id: "p", name: "after", kind: "probe", role: "unlearned", dash: found.recorded ? "" : "2 5", points: found.points }], { steps: found.steps });
  const last = found.points[found.points.length - 1];
  return node("div", { class: "pinned-curve" }, node("h4", {}, "Over the steps of forgetting"), chart.node,
    node("p", { class: "hint" }, `${percent(found.points[0][1])} before, ${percent(last[1])} after. ${found.note || ""}`));
}

function draw(value, data) {
  const table = node("div", {});
  const bars = () => fill(table, tokenBars(data, { scale, marked: data.actual, pick: (word) => trigger("pick", { token: word, context: value.context || data.text || "" }) }));
  bars();
  const changed = data.translated && data.text && data.translated !== data.text
    ? node("p", { class: "hint" }, "The generic target comes from the model’s view of the translated text: “", node("bdi", {}, data.translated.slice(-160)), "”",
      ...(data.completed ? [", where your words end inside an anchor that goes on with “", node("bdi", {}, data.completed.trim()), "”"] : []))
    : null;
  fill(element, head(value), node("div", { class: data.curve ? "pinned" : "" },
    node("div", {}, node("div", { class: "row spread bars-tools" }, node("p", { class: "hint" }, "Choose a token to go on from it in both models."),
      switcher("Scale of the bars", [["linear", "linear"], ["sqrt", "square root"], ["log", "log"]], scale, (key) => { scale = key; bars(); })), table, changed),
    curveOf(data.curve)));
}

let drawn = "";
function update() {
  drawn = "";
  if (stop) stop();
  stop = null;
  const value = props.value;
  if (!value) return fill(element);
  if (value.error) return fill(element, problem(value.error, value.hint));
  if (!value.job) return draw(value, value);
  stop = followJob(server.look, value.job, (state) => {
    if (state.state === "done") draw(value, state.value);
    else if (state.state === "failed") fill(element, head(value), problem(state.message, state.hint));
    else if (state.value && state.value.rows) { if (drawn !== value.job) { draw(value, state.value); drawn = value.job; } } // its curve is still to come
    else fill(element, head(value), waiting(state));
  });
  return undefined;
}
watch("value", update);
update();
