/*
 * A run while it works, and after: polls what is new and changes the page in place.
 * value: null | {run, draft}     server: follow({run, offset, draft}), act({run, act, draft}), log({run})
 */
const { element: node, fill, percent, token, duration, figure, curves, switcher, problem, verdictCards, answered, heard, SILENT, WORDS: TERMS } = window.forgetting;
const WORDS = {
  draft: "not started", queued: "waiting", running: "running", cancelling: "stopping: it finishes its step and saves",
  succeeded: "done", failed: "failed", cancelled: "stopped", interrupted: "interrupted", missing: "not found",
};
const ACTIVE = ["queued", "running", "cancelling"];
const TITLE = document.title;
let run = null;
let timer = null;
let parts = null;
let story = null;

function newStory() {
  return { offset: 0, state: "", facts: null, stages: {}, probes: new Map(), samples: [], messages: new Map(), progress: null, place: null, error: null, seen: performance.now(), current: "" };
}

/* ---- what the run told ---- */
function stageOf(name) {
  return (story.stages[name] ||= { state: "waiting", loss: [], step: 0, steps: 0, seconds: null });
}
function redo(points, step) {  // a resumed run does some steps again: the later telling counts
  while (points.length && points[points.length - 1][0] >= step) points.pop();
}
const TELL = {
  stage(event) {
    const stage = stageOf(event.stage);
    stage.state = event.state === "done" ? "done" : "working";
    stage.seconds = event.seconds ?? stage.seconds;
    if (event.steps) stage.steps = event.steps;
    story.current = event.stage;
  },
  step(event) {
    const stage = stageOf(event.stage);
    story.current = event.stage;
    stage.state = "working";
    stage.step = event.step;
    stage.steps = event.steps || stage.steps;
    stage.speed = event.tokens_per_s;
    if (typeof event.loss === "number") {
      redo(stage.loss, event.step);
      stage.loss.push([event.step, event.loss]);
    }
  },
  probe(event) {
    for (const { prompt, target, kind, p } of event.probabilities || []) {
      const key = `${kind} ${prompt}▸${target}`;
      if (!story.probes.has(key)) story.probes.set(key, { id: key, prompt, target, kind, name: `${prompt} ${target}`, points: [] });
      const points = story.probes.get(key).points;
      redo(points, event.step);
      points.push([event.step, p]);
    }
  },
  sample(event) {
    if (typeof event.step !== "number" || event.stage !== "finetune") return;  // those of the evaluation are in the report
    story.samples = story.samples.filter((old) => !(old.step >= event.step && old.prompt === event.prompt));
    story.samples.push(event);
  },
  note(event) { story.note = event.message; },
  warning(event) { story.messages.set(`w${event.seq}`, ["warning", event.message]); },
  error(event) { story.messages.set(`e${event.seq}`, ["error", [event.message, event.hint].filter(Boolean).join(" ")]); },
  done() {},
};

function take(answer) {
  if (answer.restart || answer.facts) story = { ...newStory(), facts: answer.facts || story.facts };
  for (const event of answer.events || []) (TELL[event.kind] || (() => {}))(event);
  story.offset = answer.offset ?? story.offset;
  story.state = answer.state;
  if (answer.progress) [story.progress, story.seen] = [answer.progress, performance.now()];
  story.place = answer.place || null;
  story.error = answer.error && answer.error.message ? answer.error : null;
  story.verdicts = answer.verdicts || story.verdicts;
  if (!["running", "cancelling"].includes(story.state)) {
    for (const stage of Object.values(story.stages)) if (stage.state === "working") stage.state = story.state === "succeeded" ? "done" : "paused";
  }
}

/* ---- the page ---- */
function build() {
  const chart = curves({ label: "Probability of the watched words", height: 260 });
  const loss = curves({ label: "Loss", share: false, height: 110 });
  parts = {
    name: node("h3", { class: "live-name" }), chip: node("span", { class: "chip live-chip", role: "status" }), about: node("p", { class: "hint live-about" }),
    buttons: node("div", { class: "row live-buttons" }), said: node("div", { class: "live-said" }),
    stages: node("ol", { class: "live-stages" }), meter: node("div", { style: "width:0" }), line: node("p", { class: "live-line", title: `Loss: ${TERMS.loss} Tokens/s: ${TERMS["tokens/s"]}` }),
    chart, loss, lossTitle: node("h4", { title: TERMS.loss }, "Loss"), legend: node("ol", { class: "curve-legend" }), none: node("p", { class: "hint" }),
    samples: node("ol", { class: "live-samples", tabindex: "0", "aria-label": "What it writes, newest first" }), samplesTitle: node("h4", {}, "What it writes now"), end: node("div", { class: "live-end" }),
    log: node("details", { class: "live-log" }, node("summary", {}, "Show what the process printed"), node("pre", { tabindex: "0" })),
    foot: node("p", { class: "hint live-foot" }),
  };
  parts.log.addEventListener("toggle", async () => { if (parts.log.open) parts.log.querySelector("pre").textContent = (await heard(server.log({ run: run.run })).catch(() => SILENT)) || "Nothing yet."; });
  const scale = switcher("Scale of the curves", [["linear", "linear"], ["sqrt", "square root"], ["log", "log"]], "linear", (value) => chart.scale(value));
  fill(element, node("section", { class: "card live", "aria-label": "The run" },
    node("div", { class: "row spread" }, node("div", { class: "row" }, parts.name, parts.chip), parts.buttons),
    parts.about, parts.said, parts.stages,
    node("div", { class: "meter live-meter", role: "progressbar", "aria-label": "The whole run", "aria-valuemin": "0", "aria-valuemax": "100" }, parts.meter),
    parts.line, parts.end,
    node("div", { class: "live-charts" },
      node("div", { class: "live-main" }, node("div", { class: "row spread" }, node("h4", {}, "Probability of the watched words"), scale), chart.node, parts.none, parts.legend),
      node("div", { class: "live-side" }, parts.lossTitle, loss.node, parts.samplesTitle, parts.samples)),
    parts.log, parts.foot));
  parts.sampleNodes = new Map();
  parts.legendNodes = new Map();
}

function patchText(target, words) { if (target.textContent !== words) target.textContent = words; }

function secondsLeft() {
  const left = story.progress && (story.progress.seconds_left ?? story.progress.stage_seconds_left);
  return left === null || left === undefined ? null : Math.max(0, left - (performance.now() - story.seen) / 1000);
}

function wholeShare() {
  if (story.state === "succeeded") return 1;
  const stages = story.facts ? story.facts.stages : [];
  const known = stages.every((stage) => stage.expected);
  const weight = (stage) => (known ? stage.expected : 1);
  const all = stages.reduce((sum, stage) => sum + weight(stage), 0) || 1;
  return stages.reduce((sum, { name, ...stage }) => {
    const own = story.stages[name];
    const share = !own ? 0 : own.state === "done" ? 1 : own.steps ? own.step / own.steps : 0;
    return sum + weight({ name, ...stage }) * share;
  }, 0) / all;
}

function drawHead() {
  const { facts, state } = story;
  patchText(parts.name, facts ? facts.name : "");
  patchText(parts.chip, WORDS[state] || state);
  parts.chip.dataset.state = state;
  patchText(parts.about, facts ? [facts.model, `preset ${facts.preset}`, facts.title && `“${facts.title}”`, facts.words && `${facts.words.toLocaleString("en")} words`].filter(Boolean).join(" · ") : "");
  const wanted = facts ? buttonsFor(state, facts) : [];
  const key = wanted.map((one) => one.key).join();
  if (parts.buttons.dataset.key !== key) {
    const had = parts.buttons.contains(document.activeElement);
    fill(parts.buttons, wanted.map((one) => node("button", { type: "button", class: one.kind || "", onclick: (event) => one.go(event.currentTarget) }, one.words)));
    parts.buttons.dataset.key = key;
    if (had && parts.buttons.firstChild) parts.buttons.firstChild.focus();
  }
}

function buttonsFor(state, facts) {
  const found = [];
  const press = (act) => async (button) => {
    button.disabled = true;
    if (act.startsWith("stop")) parts.chip.textContent = WORDS.cancelling;
    const answer = await answered(server.act({ run: run.run, act, draft: run.draft }), { message: SILENT });
    if (answer.error) {
      patchText(parts.chip, WORDS[story.state] || story.state);
      say("error", [answer.error.message, answer.error.hint].filter(Boolean).join(" "));
    }
    button.disabled = false;
    ask();
  };
  if (facts.mine && (state === "running" || state === "queued")) found.push({ key: "stop", words: state === "queued" ? "Leave the queue" : "Stop and keep", go: press("stop") });
  if (facts.mine && state === "cancelling") found.push({ key: "now", words: "Stop now, without saving", go: press("stop_now") });
  if (facts.mine && ["failed", "cancelled", "interrupted", "draft"].includes(state)) found.push({ key: "resume", kind: "primary", words: state === "draft" ? "Start" : "Resume", go: press("resume") });
  if (["succeeded", "cancelled", "interrupted", "failed"].includes(state) && (story.stages.finetune || {}).step) {
    found.push({ key: "compare", kind: state === "succeeded" ? "primary" : "", words: "Compare before and after", go: () => window.forgetting.visit({ step: "compare", run: run.run }) });
  }
  if (state === "succeeded") found.push({ key: "probe", words: "Is it really gone?", go: () => window.forgetting.visit({ step: "probe", run: run.run, evaluation: "" }) });
  found.push({ key: "link", kind: "quiet", words: "Copy link", go: copyLink });
  return found;
}

async function copyLink(button) {
  const link = `${location.origin}${location.pathname}?run=${run.run}`;
  try {
    await navigator.clipboard.writeText(link);
    button.textContent = "Copied";
  } catch {
    say("hint", link);
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}

/* Warnings and errors stay until they are dismissed. */
function say(kind, words) { story.messages.set(`own ${words}`, [kind, words]); drawMessages(); }
function drawMessages() {
  const shown = new Map(story.messages);
  if (story.error) shown.set("state", ["error", [story.error.message, story.error.hint].filter(Boolean).join(" ")]);
  if (story.facts && story.facts.problem) shown.set("problem", ["error", story.facts.problem]);
  const words = new Set();
  const once = [...shown].filter(([, [, text]]) => !words.has(text) && words.add(text)).filter(([key]) => !(story.hidden || new Set()).has(key));
  const key = JSON.stringify(once);
  if (parts.said.dataset.key === key) return;
  parts.said.dataset.key = key;
  fill(parts.said, once.map(([id, [kind, text]]) => node("div", { class: `note ${kind} row spread`, role: kind === "error" ? "alert" : "status" }, node("span", {}, text),
    node("button", { type: "button", class: "quiet", "aria-label": "Dismiss this message", onclick: () => { (story.hidden ||= new Set()).add(id); drawMessages(); } }, "Dismiss"))));
}

function drawStages() {
  const stages = story.facts ? story.facts.stages : [];
  if (parts.stages.children.length !== stages.length) {
    fill(parts.stages, stages.map((stage) => node("li", { title: stage.says }, node("span", { class: "stage-mark", "aria-hidden": "true" }), node("span", { class: "stage-name" }, stage.title), node("span", { class: "stage-state" }))));
  }
  const states = { waiting: "", working: "now", done: "done", paused: "here" };
  stages.forEach((stage, i) => {
    const item = parts.stages.children[i];
    const own = story.stages[stage.name];
    const state = own ? own.state : "waiting";
    if (item.dataset.state !== state) item.dataset.state = state;
    if (state === "working") item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    patchText(item.lastChild, state === "done" && own.seconds ? duration(own.seconds) : state === "waiting" && stage.expected ? `≈ ${duration(stage.expected)}` : states[state]);
  });
}

function drawLine() {
  const share = Math.round(100 * wholeShare());
  parts.meter.style.width = `${share}%`;
  parts.meter.parentElement.setAttribute("aria-valuenow", share);
  const left = secondsLeft();
  const stage = story.stages[story.current];
  const words = [];
  if (story.state === "queued") {
    const place = story.place;
    words.push(place ? (place.position === 1 ? "You are next." : `${place.position - 1} run${place.position > 2 ? "s" : ""} before yours.`) : "Waiting.");
    if (place && place.starts_in) words.push(`Starts in about ${duration(place.starts_in)}.`);
  } else if (["running", "cancelling"].includes(story.state)) {
    if (!stage) words.push(/ MB| GB|%/.test(story.note || "") && !/^(free|batch)/.test(story.note) ? story.note : "Loading the model …");
    else {
      const info = story.facts.stages.find((one) => one.name === story.current);
      if (info) words.push(info.title);
      if (stage.steps) words.push(`step ${stage.step} of ${stage.steps}`);
      if (left !== null) words.push(`${duration(left)} left`);
      if (stage.loss.length) words.push(`loss ${figure(stage.loss[stage.loss.length - 1][1])}`);
      if (stage.speed) words.push(`${figure(stage.speed)} tokens/s`);
    }
  } else if (story.note) words.push(story.note);
  patchText(parts.line, words.join(" · "));
  if (ACTIVE.includes(story.state) && document.body.dataset.step === "unlearn") document.title = `${share} % · ${story.facts ? story.facts.name : TITLE}`;
  else if (/^\d+ % · /.test(document.title)) document.title = `${WORDS[story.state] || story.state} · ${story.facts ? story.facts.name : TITLE}`;
  const say = story.facts && story.facts.stages.find((one) => one.name === story.current);
  patchText(parts.foot, ACTIVE.includes(story.state)
    ? `${say && story.state === "running" ? `${say.says} ` : ""}You can close this page: the run goes on, and this address shows it again.` : "");
}

function drawCharts() {
  const probes = [...story.probes.values()].sort((a, b) => (a.kind === "control") - (b.kind === "control"));
  const finetune = story.stages.finetune || {};
  parts.chart.set(probes, { steps: finetune.steps });
  const waiting = !probes.length;
  patchText(parts.none, waiting ? (ACTIVE.includes(story.state) ? "The curves begin when forgetting begins: the third part of the run." : "No prompts were watched.") : "");
  for (const [i, probe] of probes.entries()) drawLegend(probe, i);
  for (const [key, item] of parts.legendNodes) if (!story.probes.has(key)) { item.remove(); parts.legendNodes.delete(key); }
  const training = ["finetune", "reinforce", "teach"].map((name) => [name, story.stages[name]]).find(([name, stage]) => stage && stage.loss.length && (name === story.current || story.current !== name));
  const shown = story.stages[story.current] && story.stages[story.current].loss.length ? [story.current, story.stages[story.current]] : training;
  const [name, stage] = shown || ["", null];
  parts.lossTitle.hidden = parts.loss.node.hidden = !stage;
  if (stage) {
    const info = story.facts.stages.find((one) => one.name === name);
    patchText(parts.lossTitle, `Loss · ${info ? info.title : name}`);
    parts.loss.set([{ id: "loss", name: "loss", kind: "probe", role: "other", points: stage.loss }], { steps: stage.steps });
  }
}

function drawLegend(probe, i) {
  let item = parts.legendNodes.get(probe.id);
  if (!item) {
    const bright = (on) => () => parts.chart.bright(on ? probe.id : null);
    item = node("li", { class: probe.kind, tabindex: "0", onmouseenter: bright(true), onmouseleave: bright(false), onfocus: bright(true), onblur: bright(false) },
      node("span", { class: "legend-mark", "aria-hidden": "true" }),
      node("span", {}, node("bdi", { class: "legend-prompt" }, probe.prompt), " ", node("strong", {}, token(probe.target)), " ", probe.kind === "control" ? node("span", { class: "chip" }, "control: should stay") : null),
      node("span", { class: "legend-p" }));
    parts.legendNodes.set(probe.id, item);
  }
  if (parts.legend.children[i] !== item) parts.legend.insertBefore(item, parts.legend.children[i] || null);
  const [first, last] = [probe.points[0], probe.points[probe.points.length - 1]];
  patchText(item.lastChild, first === last ? percent(last[1]) : `${percent(first[1])} → ${percent(last[1])}`);
}

function drawEnd() {
  const key = story.state === "succeeded" ? JSON.stringify(story.verdicts || {}) : "";
  if (parts.end.dataset.key === key) return;
  parts.end.dataset.key = key;
  fill(parts.end, key ? verdictCards(story.verdicts) : null);
}

function drawSamples() {
  const newest = [...story.samples].sort((a, b) => b.step - a.step);
  parts.samplesTitle.hidden = !newest.length;
  for (const [i, sample] of newest.entries()) {
    const key = `${sample.step} ${sample.prompt} ${sample.text}`;
    if (!parts.sampleNodes.has(key)) {
      parts.sampleNodes.set(key, node("li", {}, node("span", { class: "hint" }, `at step ${sample.step}`), node("p", { class: "book", dir: "auto" }, node("span", { class: "hint" }, sample.prompt), node("mark", {}, sample.text || " (it ends here)"))));
    }
    const item = parts.sampleNodes.get(key);
    if (parts.samples.children[i] !== item) parts.samples.insertBefore(item, parts.samples.children[i] || null);
  }
  while (parts.samples.children.length > newest.length) parts.samples.lastChild.remove();
}

function draw() {
  if (story.state === "missing") {
    fill(element, problem(story.error.message, story.error.hint));
    parts = null;
    return;
  }
  if (!parts) build();
  drawHead();
  drawMessages();
  drawStages();
  drawLine();
  drawEnd();
  drawCharts();
  drawSamples();
}

/* ---- asking ---- */
let asking = false;
async function ask() {
  clearTimeout(timer);
  if (!run || asking) return;
  const mine = run;
  asking = true;
  let answer = null;
  try {
    answer = await heard(server.follow({ run: mine.run, offset: story.offset, draft: mine.draft }));
  } catch {
    if (parts) patchText(parts.foot, "The page's server does not answer. Trying again …");
  }
  asking = false;
  if (mine !== run) return ask();
  if (answer) {
    take(answer);
    draw();
  }
  const idle = !ACTIVE.includes(story.state);
  if (document.visibilityState === "visible" && story.state !== "missing") timer = setTimeout(ask, idle ? 5000 : 1000);
  return undefined;
}
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") ask(); });
setInterval(() => { if (run && parts && story.state === "running" && document.visibilityState === "visible") drawLine(); }, 1000);

function update() {
  const value = props.value;
  if (value && run && value.run === run.run) { ask(); return; }
  clearTimeout(timer);
  run = value && value.run ? value : null;
  story = newStory();
  parts = null;
  fill(element);
  if (run) ask();
}
watch("value", update);
update();
