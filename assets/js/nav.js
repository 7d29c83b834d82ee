/* The header: where somebody is. Its value and the address bar say the same; the panels and on_open follow it. */
const STEPS = { start: "open_start", text: "open_text", dictionary: "open_dictionary", unlearn: "open_unlearn", compare: "open_compare", probe: "open_probe", inspector: "open_inspector", runs: "open_runs" };
const KEPT = (key) => key.startsWith("__") || key === "lesson";

function ownDraft() {
  let id = localStorage.getItem("forgetting-draft");
  if (!/^[a-z0-9]{24}$/.test(id || "")) {
    const letters = "abcdefghijklmnopqrstuvwxyz234567";
    id = Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => letters[byte & 31]).join("");
    localStorage.setItem("forgetting-draft", id);
  }
  return id;
}

function fromAddress() {
  const where = Object.fromEntries([...new URLSearchParams(location.search)].filter(([key]) => !key.startsWith("__")));
  if (!STEPS[where.step]) where.step = where.run ? "unlearn" : "start";
  if (!/^[a-z0-9]{24}$/.test(where.draft || "")) where.draft = ownDraft();
  return where;
}

function toAddress(where) {
  const query = new URLSearchParams([...new URLSearchParams(location.search)].filter(([key]) => KEPT(key)));
  for (const [key, value] of Object.entries(where)) {
    if (value && !(key === "draft" && value === ownDraft()) && !(key === "step" && value === "start")) query.set(key, value);
  }
  const text = query.toString();
  return location.pathname + (text ? `?${text}` : "");
}

function show(where) {
  document.getElementById("first")?.remove();
  document.body.dataset.step = where.step;
  for (const link of element.querySelectorAll("a[data-step]")) {
    const here = link.dataset.step === where.step;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    const target = { step: link.dataset.step, draft: where.draft };
    if (where.run) target.run = where.run;
    link.href = toAddress(target);
  }
  document.title = `${element.querySelector(`a[data-step="${where.step}"]`).dataset.title} · Forgetting Lab`;
}

function arrive(where) {
  show(where);
  props.value = where;
  trigger("change");
  trigger(STEPS[where.step]);
}

function visit(where) {
  const address = toAddress(where);
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  arrive(where);
  window.scrollTo({ top: 0 });
}

element.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-step]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    const where = Object.fromEntries(new URLSearchParams(new URL(link.href).search));
    visit({ draft: ownDraft(), ...where, step: link.dataset.step });
  } else if (event.target.closest("[data-act=theme]")) {
    const dark = !document.body.classList.contains("dark");
    for (const root of [document.body, document.documentElement]) root.classList.toggle("dark", dark);
    localStorage.setItem("forgetting-theme", dark ? "dark" : "light");
  }
});
window.addEventListener("popstate", () => arrive(fromAddress()));
/* Other components go somewhere by window.forgetting.visit({step: "dictionary"}). */
window.forgetting.visit = (changes) => visit({ ...props.value, ...changes });
/* Something more about where somebody is, for a link or a reload: nobody goes anywhere. */
window.forgetting.keep = (changes) => {
  props.value = { ...props.value, ...changes };
  history.replaceState(null, "", toAddress(props.value));
  show(props.value);
};
window.forgetting.fromAddress = fromAddress;

let ready = false;
watch("value", () => {
  if (!props.value || !props.value.step) return;
  if (ready) visit(props.value);
  else arrive(props.value); // the frame's load event says that all panels listen
  ready = true;
});
show(fromAddress());
