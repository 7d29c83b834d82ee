/* Helpers of all components: nodes without HTML strings, so that nobody's text can become markup. */
window.forgetting = {
  /** element("b", {class: "x", title: "…", onclick: f, "aria-label": "…"}, "text", node, …) → node */
  element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  },
  /** The same for SVG. */
  svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children.flat());
    return node;
  },
  /** Replace what a node holds. */
  fill(node, ...children) {
    node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  },
  SILENT: "The page’s server does not answer. Try again.",
  /** The answer to a question to the server. Where it does not answer, Gradio's is undefined; this one throws. */
  async heard(question) {
    const answer = await question;
    if (answer === undefined) throw new Error(window.forgetting.SILENT);
    return answer;
  },
  /** The same, with {error: …} where it does not answer. */
  answered(question, error = window.forgetting.SILENT) {
    return window.forgetting.heard(question).catch(() => ({ error }));
  },
  /** 0.612 → "61 %", 0.0042 → "0.42 %", 3e-6 → "0.0003 %". */
  percent(p) {
    if (p === null || p === undefined || Number.isNaN(p)) return "–";
    const value = 100 * p;
    if (value >= 99.5 && value < 99.95) return `${value.toFixed(1)} %`;
    if (value >= 10) return `${value.toFixed(0)} %`;
    if (value >= 1) return `${value.toFixed(1)} %`;
    if (value >= 0.01) return `${value.toFixed(2)} %`;
    return value === 0 ? "0 %" : "< 0.01 %";
  },
};
/* The appearance that first_paint.py has settled on; Gradio knows only the system's. */
document.body.classList.toggle("dark", document.documentElement.classList.contains("dark"));
