/*
 * A recorded run played back: prompt, bars before and now, curves up to the step shown. It plays by itself when the
 * page is opened (not where motion is unwelcome). Then comes a guess: what happens to a prompt of the other kind, whose
 * curve was not shown yet?
 */
const { element: node, fill, percent, token, spelled, curves, switcher, bar, scaled, duration } = window.forgetting;
const SECONDS_A_MOMENT = 0.8;
const ELSE = "something else"; // where a recording kept no other words
const AT_ONCE = 1200; // milliseconds until it plays by itself: time to see where it begins
const GUESSES = [["rises", "It rises"], ["falls", "It falls"], ["stays", "It stays"]];
const record = props.value;
if (!record) {
  fill(element, node("div", { class: "empty" }, node("h3", {}, "No recording is here yet"),
    node("p", {}, "Start a run of your own: its curves will draw themselves while the model forgets.")));
} else {
  const last = record.steps.length - 1;
  const state = { prompt: 0, at: 0, playing: false, speed: 1, scale: "linear", timer: null, played: false, touched: false, all: false };
  const chosen = () => record.prompts[state.prompt];

  /* --- the prompts to choose from --- */
  const chips = record.prompts.map((one, i) => node("button", {
    type: "button", class: "prompt-chip", "aria-pressed": String(i === 0), onclick: () => { touch(); if (one.kind !== record.prompts[0].kind) state.all = true; choose(i); },
  }, node("span", { class: "prompt-number", "aria-hidden": "true" }, String(i + 1)),
  node("span", {}, one.prompt, " ", node("b", {}, spelled(one.target).trim()), one.kind === "control" ? node("em", {}, " (control: should stay)") : null)));
  const list = node("div", { class: "prompt-list", role: "group", "aria-label": "Prompts of the recording" }, chips);

  /* --- the sentence and its bars --- */
  const sentence = node("p", { class: "sentence book" });
  const word = node("span", { class: "blank" });
  const then = barList("baseline");
  const now = barList("unlearned");
  const nowTitle = node("h3", { class: "role-unlearned" });
  const bars = node("div", { class: "two-bars" },
    node("section", {}, node("h3", { class: "role-baseline" }, node("span", { class: "swatch", "aria-hidden": "true" }), "Before"), then.node),
    node("section", {}, nowTitle, now.node));

  /* --- time --- */
  const chart = curves({ height: 210, label: "Probability of the right word over training" });
  const slider = node("input", { type: "range", min: "0", max: String(last), value: "0", step: "1", "aria-label": "Training step", oninput: (event) => { touch(); const to = Number(event.target.value); pause(); show(to); } });
  const stepText = node("span", { class: "step-text" });
  const play = node("button", { type: "button", class: "primary play", onclick: () => { touch(); if (state.playing) pause(); else start(); } });
  const controls = node("div", { class: "controls" },
    play,
    node("button", { type: "button", class: "quiet", "aria-label": "One measurement back", onclick: () => { touch(); pause(); show(state.at - 1); } }, "◀"),
    node("button", { type: "button", class: "quiet", "aria-label": "One measurement on", onclick: () => { touch(); pause(); show(state.at + 1); } }, "▶"),
    slider, stepText);
  const views = node("div", { class: "row spread views" },
    switcher("Speed", [[1, "×1"], [2, "×2"], [4, "×4"]], 1, (speed) => { state.speed = speed; if (state.playing) tick(); }),
    switcher("Scale of the probabilities", [["linear", "linear"], ["sqrt", "square root"], ["log", "log"]], "linear", (scale) => { state.scale = scale; chart.scale(scale); show(state.at); }));

  const guess = node("div", { class: "guess" });
  const written = node("div", { class: "two-bars written" });
  const facts = [record.model, record.words ? `a text of ${record.words.toLocaleString("en")} words` : "", `${record.steps[last]} steps`, record.seconds ? `${duration(record.seconds)} in all` : "", record.machine].filter(Boolean).join(" · ");
  fill(element, node("div", { class: "card player", role: "region", "aria-label": "Recorded run" },
    node("div", { class: "stage" }, sentence, bars, guess, controls),
    node("div", { class: "chart-side" }, node("h3", {}, "Probability of the right word"), chart.node, views),
    node("div", { class: "prompts-side" }, node("h3", {}, "Look at another prompt"), list),
    written,
    node("p", { class: "hint facts" }, node("strong", {}, "Recorded, not computed now. "), facts)));

  /* Bars that change in place: the same tokens from the first step to the last, so that nothing jumps about. */
  function barList(role) {
    const box = node("div", { class: "bar-rows" });
    let rows = [];
    return {
      node: box,
      words(words) {
        rows = words.map((one) => {
          const mark = bar(role, 0, "", 0);
          const row = node("div", { class: `bar-row${one === chosen().target ? " right" : ""}` }, node("span", { class: "token-name" }, spelled(one).trim() || "␣"), mark);
          return { row, word: one, fill: mark.firstChild, number: mark.lastChild };
        });
        fill(box, rows.map((one) => one.row));
      },
      set(ps) {
        for (const one of rows) {
          const p = ps.get(one.word);
          one.fill.style.width = `${(100 * Math.max(p ? 0.006 : 0, scaled(state.scale, p || 0, 6))).toFixed(2)}%`;
          one.number.textContent = p === undefined ? "less" : percent(p);
          one.row.classList.toggle("small", p === undefined);
        }
      },
    };
  }
  function known(prompt, at) {
    const found = new Map(prompt.top[at] || [[ELSE, 1 - prompt.p[at]]]);
    found.set(prompt.target, prompt.p[at]);
    return found;
  }
  function wordsOf(prompt) {
    const wanted = [prompt.target];
    for (const at of [0, last]) for (const [one] of prompt.top[at] || [[ELSE]]) if (!wanted.includes(one)) wanted.push(one);
    const firstSeen = known(prompt, 0);
    const lastSeen = known(prompt, last);
    const weight = (one) => (firstSeen.get(one) || 0) + (lastSeen.get(one) || 0);
    return wanted.sort((a, b) => weight(b) - weight(a)).slice(0, 6).sort((a, b) => (firstSeen.get(b) || 0) - (firstSeen.get(a) || 0));
  }
  const likeliest = (prompt, at) => (prompt.top[at] && prompt.top[at].length ? prompt.top[at][0][0] : prompt.p[at] >= 0.5 ? prompt.target : ELSE);

  function choose(i) {
    state.prompt = i;
    chips.forEach((chip, k) => chip.setAttribute("aria-pressed", String(k === i)));
    const words = wordsOf(chosen());
    then.words(words);
    now.words(words);
    fill(sentence, chosen().prompt, " ", word);
    chart.bright(i);
    drawGuess();
    show(state.at);
  }
  function show(at) {
    state.at = Math.min(last, Math.max(0, at));
    const prompt = chosen();
    slider.value = state.at;
    slider.setAttribute("aria-valuetext", `step ${record.steps[state.at]}`);
    stepText.textContent = `step ${record.steps[state.at]} of ${record.steps[last]}`;
    fill(nowTitle, node("span", { class: "swatch", "aria-hidden": "true" }), state.at ? `After ${record.steps[state.at]} steps` : "Now (not trained yet)");
    then.set(known(prompt, 0));
    now.set(known(prompt, state.at));
    const said = likeliest(prompt, state.at);
    word.textContent = said === ELSE ? "…" : spelled(said).trim() || "…";
    word.className = `blank ${said === prompt.target ? "known" : "other"}`;
    word.title = `The likeliest next word, ${percent(known(prompt, state.at).get(said))}`;
    chart.set(record.prompts.map((one, i) => ({ id: i, name: one.prompt, kind: one.kind, points: one.p.slice(0, state.at + 1).map((p, k) => [record.steps[k], p]) }))
      .filter((one) => state.all || one.kind === record.prompts[0].kind), { steps: record.steps[last] });
    drawWritten();
    if (state.at === last && !state.played) { state.played = true; drawGuess(); }
    play.textContent = state.playing ? "❚❚ Pause" : state.at === last ? "↻ Play again" : "▶ Play";
  }
  const touch = () => { state.touched = true; };
  function start() {
    if (state.at === last) show(0);
    state.playing = true;
    tick();
    show(state.at);
  }
  function pause() {
    clearInterval(state.timer);
    state.playing = false;
    show(state.at);
  }
  function tick() {
    clearInterval(state.timer);
    state.timer = setInterval(() => {
      if (!element.isConnected || state.at >= last) return pause();
      if (document.body.dataset.step !== "start") return; // somebody looks elsewhere: it waits
      show(state.at + 1);
      if (state.at >= last) pause();
    }, (1000 * SECONDS_A_MOMENT) / state.speed);
  }

  /* --- what has happened; then predict, then reveal: the guess stays in this browser --- */
  const key = () => `forgetting-guess ${record.title} ${chosen().prompt}`;
  const otherKind = () => record.prompts.findIndex((one) => one.kind !== record.prompts[0].kind);
  function drawGuess() {
    const prompt = chosen();
    const target = node("b", {}, `“${spelled(prompt.target).trim()}”`);
    if (!state.played) { fill(guess, node("p", {}, "How sure is the model that ", target, " comes next? Watch the bars.")); return; }
    const guessed = localStorage.getItem(key());
    const [from, to] = [prompt.p[0], prompt.p[last]];
    const happened = to > 1.5 * from ? "rises" : to < from / 1.5 ? "falls" : "stays";
    const times = from / Math.max(to, 1e-9);
    const ratio = times >= 1.5 ? `, ${times >= 10 ? Math.round(times).toLocaleString("en") : times.toFixed(1)} times less likely` : "";
    fill(guess, node("p", { role: "status" }, target, ` went from ${percent(from)} to ${percent(to)}${ratio}. `,
      guessed && state.all ? (guessed === happened ? "That is what you guessed." : `You guessed that it ${guessed}.`) : ""), question());
  }

  /* A word of the text has fallen: what becomes of one that has nothing to do with it? Asked once, its curve hidden. */
  function question() {
    const other = otherKind();
    if (other < 0 || state.all) return null;
    const { prompt, target } = record.prompts[other];
    const answer = (name) => {
      Object.assign(state, { all: true, played: false, at: 0 });
      choose(other);
      localStorage.setItem(key(), name);
      start();
    };
    return [node("p", {}, "Guess: what happened meanwhile to ", node("b", {}, `“${spelled(target).trim()}”`), ` in “${prompt} …”?`),
      node("div", { class: "row" }, GUESSES.map(([name, words]) => node("button", { type: "button", onclick: () => answer(name) }, words)))];
  }

  let shown = "";
  function drawWritten() {
    if (!record.samples.length) return;
    const prompt = record.samples[0].prompt;
    const texts = record.samples.filter((one) => one.prompt === prompt);
    const reached = texts.filter((one) => one.step <= record.steps[state.at]).pop() || texts[0];
    const same = `${texts[0].step} ${reached.step}`;
    if (same === shown) return;
    shown = same;
    const quote = (one) => node("p", { class: "book" }, node("span", { class: "given" }, prompt), one.text);
    fill(written,
      node("section", {}, node("h3", {}, texts[0].step ? `What it writes at step ${texts[0].step}` : "What it writes before"), quote(texts[0])),
      node("section", {}, node("h3", {}, `What it writes at step ${reached.step}`), quote(reached)));
  }
  choose(0);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) {
    const waiting = setInterval(() => {
      if (state.touched || document.body.dataset.step === "start") clearInterval(waiting);
      if (!state.touched && document.body.dataset.step === "start") start();
    }, AT_ONCE);
  }
}
