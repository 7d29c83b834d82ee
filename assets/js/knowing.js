/* Does the model know the text? A figure, a sentence, some examples, and what to do where it does not. */
const { element: node, fill, percent, spelled, followJob, waiting, problem, roleName } = window.forgetting;
const SENTENCES = {
  well: "The model knows this text. There is something to forget.",
  "a little": "The model knows this text a little. Forgetting will show more clearly if it is taught the text first.",
  not: "The model does not know this text: there is nothing to forget yet. Teach it the text first.",
};
let end = () => {};
function draw() {
  end();
  const asked = props.value;
  if (!asked) return fill(element);
  const body = node("div", {});
  fill(element, node("section", { class: "card knowing", "aria-label": "Familiarity" },
    node("h2", {}, "Does the model know it already?"), body));
  if (asked.ask) {
    return fill(body, node("p", {}, `Ask ${asked.model} how the text goes on. `, asked.megabytes ? `It is not on this computer yet: a download of ${asked.megabytes} MB.` : "It is not on this computer yet."),
      node("button", { type: "button", onclick: () => trigger("measure") }, asked.megabytes ? `Fetch it and ask (${asked.megabytes} MB)` : "Fetch it and ask"));
  }
  end = followJob((question) => server.look({ ...question, fetches: asked.fetches }), asked.job, (state) => {
    if (!element.isConnected) return end();
    if (state.state === "done" && asked.fetches) return trigger("measure");
    if (state.state === "done") return fill(body, answer(state.value, asked));
    if (state.state === "failed") return fill(body, problem(state.message, state.hint), node("button", { type: "button", onclick: () => trigger("measure") }, "Ask again"));
    fill(body, waiting(state));
  });
}
function answer(found, asked) {
  const baseline = found.roles[found.roles.length - 1];
  const before = found.roles.length > 1 ? found.roles[0] : null;
  return [
    node("div", { class: "knowing-answer" },
      node("p", { class: "big-figure" }, percent(baseline.value)),
      node("div", {}, node("p", { class: "verdict" }, SENTENCES[found.verdict]),
        node("p", { class: "hint" }, `Familiarity: how sure ${found.model} is, on average over ${found.count} beginnings, of the word that only this text tells`,
          before ? ` (${percent(before.value)} before it was taught the text).` : "."))),
    node("table", { class: "examples-table" }, node("caption", { class: "sr" }, "Some of the beginnings"),
      node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Beginning"), node("th", { scope: "col" }, "only the text tells"), found.roles.map((one) => node("th", { scope: "col", class: "number" }, before ? roleName(one.role) : "how sure it is")))),
      node("tbody", {}, found.examples.map((one) => node("tr", {}, node("td", { class: "book", dir: "auto" }, `${one.prompt} …`), node("td", {}, node("b", {}, spelled(one.target).trim())),
        found.roles.map(({ role }) => node("td", { class: "number" }, percent(one.p[role]))))))),
    asked.taught ? node("p", { class: "hint" }, "This example brings a model that was taught the text, so that there is something to forget.")
      : node("label", { class: "teach" }, node("input", { type: "checkbox", checked: asked.teach, onchange: (event) => trigger("teach", { on: event.target.checked }) }),
        node("span", {}, "Teach the model this text first", node("small", {}, " (a stage of its own, before forgetting)"))),
  ];
}
watch("value", draw);
draw();
