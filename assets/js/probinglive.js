/*
 * An evaluation while it works: its parts, how long it still takes, the button that stops it.
 * value: null | {run, draft}     server: follow({run, draft}), act({run, act, draft}), log({run})
 * event: "ended" {run} when an evaluation that was watched comes to its end
 */
const { element: node, fill, duration, problem, answered, heard, SILENT } = window.forgetting;
const WORDS = { draft: "not started", queued: "waiting", running: "running", cancelling: "stopping: it finishes what it is at", succeeded: "done", failed: "failed", cancelled: "stopped", interrupted: "interrupted" };
const ACTIVE = ["queued", "running", "cancelling"];
let shown = null;
let parts = null;
let state = "";
let timer = null;
let asking = false;
let left = { seconds: null, seen: 0 };

function build() {
  parts = {
    name: node("h3", { class: "live-name" }), chip: node("span", { class: "chip live-chip", role: "status" }), buttons: node("div", { class: "row live-buttons" }),
    said: node("div", {}), stages: node("ol", { class: "live-stages" }), meter: node("div", { style: "width:0" }), line: node("p", { class: "live-line" }),
    samples: node("ol", { class: "live-samples", "aria-label": "What it writes, newest first" }), foot: node("p", { class: "hint live-foot" }),
    log: node("details", { class: "live-log" }, node("summary", {}, "Show what the process printed"), node("pre", { tabindex: "0" })),
  };
  parts.log.addEventListener("toggle", async () => { if (parts.log.open) parts.log.querySelector("pre").textContent = (await heard(server.log({ run: shown.run })).catch(() => SILENT)) || "Nothing yet."; });
  fill(element, node("section", { class: "card live", "aria-label": "The evaluation at work" },
    node("div", { class: "row spread" }, node("div", { class: "row" }, parts.name, parts.chip), parts.buttons), parts.said, parts.stages,
    node("div", { class: "meter live-meter", role: "progressbar", "aria-label": "The whole evaluation", "aria-valuemin": "0", "aria-valuemax": "100" }, parts.meter),
    parts.line, parts.samples, parts.log, parts.foot));
}
function patch(target, words) { if (target.textContent !== words) target.textContent = words; }

async function press(act, button) {
  button.disabled = true;
  if (act !== "resume") patch(parts.chip, WORDS.cancelling);
  const answer = await answered(server.act({ run: shown.run, act, draft: shown.draft }), { message: SILENT });
  if (answer.error) fill(parts.said, problem(answer.error.message, answer.error.hint));
  button.disabled = false;
  ask();
}
function drawButtons(found) {
  const wanted = !found.facts.mine ? [] : { queued: [["stop", "Leave the queue"]], running: [["stop", "Stop"]], cancelling: [["stop_now", "Stop now"]] }[found.state]
    || (["failed", "cancelled", "interrupted", "draft"].includes(found.state) ? [["resume", found.state === "draft" ? "Start" : "Resume"]] : []);
  const key = wanted.map(([act]) => act).join();
  if (parts.buttons.dataset.key === key) return;
  const had = parts.buttons.contains(document.activeElement);
  parts.buttons.dataset.key = key;
  fill(parts.buttons, wanted.map(([act, words]) => node("button", { type: "button", class: act === "resume" ? "primary" : "", onclick: (event) => press(act, event.currentTarget) }, words)));
  if (had && parts.buttons.firstChild) parts.buttons.firstChild.focus();
}
const MARKS = { planned: "", working: "working", done: "done", paused: "paused" };
function drawStages(found) {
  if (parts.stages.children.length !== found.parts.length) fill(parts.stages, found.parts.map(() => node("li", {}, node("span", { class: "stage-mark", "aria-hidden": "true" }), node("span", { class: "stage-name" }), node("span", { class: "stage-state" }))));
  found.parts.forEach((part, i) => {
    const item = parts.stages.children[i];
    item.dataset.state = MARKS[part.state];
    if (part.state === "working") item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    patch(item.children[1], part.title);
    const words = { done: part.seconds ? duration(part.seconds) : "done", planned: part.expected ? `≈ ${duration(part.expected)}` : "", working: part.steps ? `${part.step} of ${part.steps}` : "now", paused: "here" };
    patch(item.children[2], words[part.state]);
  });
}
function drawLine(found) {
  if (found) left = { seconds: found.seconds_left, seen: performance.now() };
  const still = left.seconds === null || left.seconds === undefined ? null : Math.max(0, left.seconds - (performance.now() - left.seen) / 1000);
  const words = [];
  if (state === "queued" && found && found.place) words.push(found.place.position === 1 ? "It is next." : `${found.place.position - 1} before it.`, found.place.starts_in ? `Starts in about ${duration(found.place.starts_in)}.` : "");
  if (state === "running") {
    const now = found ? found.parts.find((part) => part.state === "working") : null;
    words.push(now ? now.title : parts.line.dataset.part || "Loading the model …", still ? `${duration(still)} left` : "");
    parts.line.dataset.part = words[0];
  }
  patch(parts.line, words.filter(Boolean).join(" · "));
}
function draw(found) {
  if (found.state === "missing") { fill(element, problem(found.error.message, found.error.hint)); parts = null; return; }
  if (!parts) build();
  patch(parts.name, found.facts.name);
  patch(parts.chip, WORDS[found.state] || found.state);
  parts.chip.dataset.state = found.state;
  drawButtons(found);
  drawStages(found);
  const share = Math.round(100 * found.share);
  parts.meter.style.width = `${share}%`;
  parts.meter.parentElement.setAttribute("aria-valuenow", share);
  drawLine(found);
  const told = [...found.warnings.map((words) => node("p", { class: "note warning", role: "status" }, words)), found.error && found.error.message ? problem(found.error.message, found.error.hint) : null];
  if (parts.said.dataset.key !== JSON.stringify([found.warnings, found.error])) {
    parts.said.dataset.key = JSON.stringify([found.warnings, found.error]);
    fill(parts.said, told);
  }
  const key = JSON.stringify(found.samples);
  if (parts.samples.dataset.key !== key) {
    parts.samples.dataset.key = key;
    fill(parts.samples, [...found.samples].reverse().map((sample) => node("li", {}, node("p", { class: "book", dir: "auto" }, node("span", { class: "hint" }, sample.prompt), node("mark", {}, sample.text || " (it ends here)")))));
  }
  parts.samples.hidden = !found.samples.length || !ACTIVE.includes(found.state);
  patch(parts.foot, ACTIVE.includes(found.state) ? "You can close this page: the evaluation goes on, and this address shows it again." : "");
}

async function ask() {
  clearTimeout(timer);
  if (!shown || asking) return;
  const mine = shown;
  asking = true;
  let found = null;
  try {
    found = await heard(server.follow(mine));
  } catch { if (parts) patch(parts.foot, "The page's server does not answer. Trying again …"); }
  asking = false;
  if (mine !== shown) { ask(); return; }
  if (found) {
    const before = state;
    state = found.state;
    draw(found);
    if (ACTIVE.includes(before) && !ACTIVE.includes(state)) trigger("ended", { run: mine.run });
  }
  if (document.visibilityState === "visible" && document.body.dataset.step === "probe" && state !== "missing") timer = setTimeout(ask, ACTIVE.includes(state) ? 1000 : 5000);
}
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") ask(); });
setInterval(() => { if (shown && parts && state === "running" && document.visibilityState === "visible") drawLine(null); }, 1000);

function update() {
  const value = props.value;
  if (value && shown && value.run === shown.run) { ask(); return; }
  clearTimeout(timer);
  shown = value && value.run ? value : null;
  [state, parts] = ["", null];
  fill(element);
  if (shown) ask();
}
watch("value", update);
update();
