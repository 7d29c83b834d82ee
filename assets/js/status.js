/* The status line: what went wrong stays until somebody has dismissed it. */
const { element: node, fill } = window.forgetting;
function draw() {
  const text = props.value || "";
  fill(element, text && node("div", { class: "status-line", role: "alert" },
    node("span", {}, text),
    node("button", { type: "button", class: "quiet", "aria-label": "Dismiss this message", onclick: () => { props.value = ""; draw(); } }, "Dismiss")));
}
watch("value", draw);
