/* Examples to start from; trigger("choose") with the name of one. */
const { element: node, fill } = window.forgetting;
function draw() {
  const examples = props.value || [];
  fill(element, node("h3", {}, "Take an example …"), node("div", { class: "examples" }, examples.map((one) => node("button", {
    type: "button", class: "example", "aria-pressed": String(one.chosen), onclick: () => trigger("choose", { name: one.name }),
  }, node("strong", {}, one.title), node("span", {}, one.description),
  node("em", {}, one.chosen ? "✓ this is your text now" : one.empty ? "bring your own copy of the text" : "text, anchors and probes included")))));
}
watch("value", draw);
draw();
