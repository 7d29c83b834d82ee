/* The text as it was understood: how long it is, what was cleaned, and the words themselves. */
const { element: node, fill } = window.forgetting;
const number = (value) => Number(value).toLocaleString("en");
function figure(term, value, more, title) {
  return node("div", {}, node("dt", { title }, term), node("dd", {}, value, " ", more ? node("small", {}, more) : null));
}
function draw() {
  const card = props.value;
  if (!card) return fill(element, node("div", { class: "card skeleton", style: "min-height: 260px", "aria-hidden": "true" }));
  if (!card.text) {
    return fill(element, node("div", { class: "empty" }, node("h3", {}, card.title || "There is no text yet"),
      node("p", {}, card.missing ? `This example brings no text: ${card.missing}. Upload or paste it above; the anchors and probes are here.` : "Take an example, upload a file or paste some text.")));
  }
  const about = card.counted ? "" : "about";
  fill(element, node("section", { class: "card textcard", "aria-label": "Your text" },
    node("div", { class: "row spread" }, node("h2", {}, card.title),
      node("button", { type: "button", class: "primary", onclick: () => window.forgetting.visit({ step: "dictionary" }) }, "Next: the dictionary →")),
    node("dl", { class: "figures" },
      figure("words", number(card.words)),
      figure("tokens", number(card.tokens), about || `for ${card.model}`, "Pieces of words: what the model reads and writes."),
      figure("blocks", number(card.blocks), "about, of 256 tokens", "Stretches that the model reads in one go.")),
    card.sources.length ? node("p", { class: "hint" }, `From ${card.sources.join(", ")}`) : null,
    card.notes.length ? node("details", { class: "cleaned" }, node("summary", {}, `What was cleaned (${card.notes.length})`), node("ul", {}, card.notes.map((one) => node("li", {}, one)))) : null,
    node("div", { class: "book excerpt", tabindex: "0", role: "region", "aria-label": "The text", dir: "auto" }, card.text, card.more ? node("span", { class: "hint" }, ` … and ${number(card.more)} more characters`) : null)));
}
watch("value", draw);
draw();
