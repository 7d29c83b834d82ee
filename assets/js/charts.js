/* Drawing that several components share: tokens as text, bars, curves. Numbers come from Python, words never as HTML. */
Object.assign(window.forgetting, (() => {
  const { element: node, svg, fill, percent, heard } = window.forgetting;
  const ROLES = {
    baseline: "before", unlearned: "after", reinforced: "reinforced", generic: "generic target",
    never_taught: "never read it", taught: "taught", prompt_only: "only asked to",
    translated: "before, on the translation",
    prompted: "only asked to", filtered: "filtered", reinforced_formula: "formula only",
  };
  const TERMS = {
    baseline: "baseline", unlearned: "unlearned", reinforced: "reinforced", generic: "generic prediction",
    never_taught: "never taught", taught: "taught", prompt_only: "baseline with a prompt",
    translated: "baseline on the translated text",
    prompted: "baseline with a prompt", filtered: "baseline with an output filter", reinforced_formula: "reinforced-logits formula at inference",
  };
  const roleName = (role) => ROLES[role] || role;
  const roleTerm = (role) => TERMS[role] || role;
  const roleClass = (role) => `role-${ROLES[role] ? role.replace("_", "-") : "other"}`;

  /* White space and invisible letters of a token made visible; everything else as it is. */
  const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  const codePoint = (letter) => `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  function spelled(text) {
    if (!text) return "(nothing)";
    return text.replace(INVISIBLE, codePoint).replace(/\r?\n/g, "↵").replace(/\t/g, "⇥");
  }
  /** What a screen reader says of a token. */
  function spoken(text) {
    const words = spelled(text).trim();
    return words || "white space";
  }
  /** A token as a node: its leading space as a faint dot. */
  function token(text, attributes = {}) {
    const shown = spelled(text);
    const spaces = shown.length - shown.trimStart().length;
    if (spaces === shown.length && spaces) return node("bdi", { ...attributes, class: `token-name ${attributes.class || ""}` }, "␣".repeat(Math.min(spaces, 3)));
    const dots = spaces ? node("span", { class: "token-space", "aria-hidden": "true" }, "·".repeat(Math.min(spaces, 3))) : null;
    return node("bdi", { ...attributes, class: `token-name ${attributes.class || ""}` }, dots, shown.slice(spaces));
  }

  const duration = (seconds) => {
    if (seconds === null || seconds === undefined || !isFinite(seconds)) return "";
    const all = Math.max(0, Math.round(seconds));
    const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
    return h ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")} h` : `${m}:${String(s).padStart(2, "0")} min`;
  };

  /** A number of any size in four letters or so. */
  function figure(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    if (size >= 100) return value.toFixed(0);
    if (size >= 1) return value.toFixed(2);
    return size === 0 ? "0" : value.toPrecision(2);
  }

  /* 0…1 → 0…1: how strongly, how far, on the scale that somebody chose. */
  const SCALES = {
    linear: (share) => share,
    sqrt: (share) => Math.sqrt(share),
    log: (share, decades = 5) => (share <= 0 ? 0 : Math.max(0, 1 + Math.log10(share) / decades)),
  };
  const scaled = (name, share, decades) => Math.min(1, Math.max(0, SCALES[name](Math.min(1, Math.max(0, share)), decades)));

  /** Asks for a job until it is done. `update(state)` gets every answer; gives a function that ends the asking. */
  function followJob(look, id, update) {
    let over = false;
    let pause = 120;
    async function ask() {
      if (over) return;
      let state;
      try {
        state = await heard(look({ job: id }));
      } catch {
        state = { state: "unreachable", message: "The page's server does not answer. Trying again …" };
      }
      if (over) return;
      update(state);
      pause = state.state === "working" ? 160 : Math.min(1500, pause * 1.3);
      if (state.state !== "done" && state.state !== "failed") setTimeout(ask, pause);
    }
    ask();
    return () => { over = true; };
  }

  /** What stands where a job's result will be: its place in the queue, what it does, how long it may take. */
  function waiting(state) {
    const words = state.message || (state.ahead ? `Waiting for ${state.ahead} other question${state.ahead > 1 ? "s" : ""} to the models …` : "Asking the model …");
    const left = state.seconds_left ? ` about ${duration(state.seconds_left)} left` : "";
    const share = state.share || 0;
    return node("div", { class: "waiting", role: "status" },
      node("div", { class: "meter" + (share ? "" : " endless") }, node("div", { style: `width:${share ? Math.round(share * 100) : 30}%` })),
      node("p", {}, words + left));
  }

  function problem(message, hint) {
    return node("p", { class: "note error", role: "alert" }, [message, hint].filter(Boolean).join(" "));
  }

  /** One horizontal bar with its number: colour and pattern of the role. */
  function bar(role, share, words, wide) {
    return node("span", { class: `bar ${roleClass(role)}` },
      node("span", { class: "bar-fill", style: `width:${(100 * Math.max(share > 0 ? 0.006 : 0, wide)).toFixed(2)}%` }),
      node("span", { class: "bar-number" }, words));
  }

  /**
   * Next-token bars: one row a token, one column a role.
   * data: {roles: [role], rows: [{token, p: {role: number}}], chosen?: token text, labels?: {role: {…}}}
   * options: scale, pick(token, row), caption, marked (text of the token to mark)
   */
  function tokenBars(data, options = {}) {
    const scale = options.scale || "linear";
    const most = options.most || 10;  // rows shown at first
    const titles = data.titles || {};
    const head = node("tr", {}, node("th", { scope: "col" }, "next token"),
      data.roles.map((role) => node("th", { scope: "col", class: roleClass(role), title: roleTerm(role) },
        node("span", { class: "swatch", "aria-hidden": "true" }), titles[role] || roleName(role))));
    const rows = data.rows.map((row, i) => {
      const name = token(row.token);
      const label = options.pick
        ? node("button", { type: "button", class: "token-button", title: "Continue from this token", onclick: () => options.pick(row.token, row) }, name)
        : name;
      const marked = options.marked !== undefined && options.marked !== null && row.token === options.marked;
      const cells = data.roles.map((role) => node("td", { "data-role": titles[role] || roleName(role) },
        bar(role, row.p[role], percent(row.p[role]), scaled(scale, row.p[role] || 0, 6))));
      return node("tr", { class: marked ? "marked" : i >= most ? "more" : null },
        node("th", { scope: "row" }, label, marked ? node("span", { class: "mark-word" }, " stands in the text") : null), cells);
    });
    const hidden = rows.filter((row) => row.classList.contains("more")).length;
    const more = hidden ? node("button", { type: "button", class: "quiet", onclick: (event) => { table.classList.add("all"); event.currentTarget.remove(); } }, `Show ${hidden} more`) : null;
    const table = node("table", { class: "token-bars" }, options.caption ? node("caption", {}, options.caption) : null,
      node("thead", {}, head), node("tbody", {}, rows));
    return node("div", {}, table, more);
  }

  const DASHES = { control: "6 5", recorded: "", known: "2 4" };
  const MARGIN = { left: 52, right: 58, top: 12, bottom: 30 };

  /**
   * Curves over training steps that are changed in place, so that nothing flickers and what was chosen stays chosen.
   * set(series, {steps}): series = [{id, name, kind: "probe" | "control", points: [[step, p]], role?}]
   */
  function curves({ height = 240, label = "probability", share = true, scale = "linear", small = false } = {}) {
    const margin = small ? { left: 8, right: 8, top: 6, bottom: 6 } : MARGIN;
    const state = { series: [], steps: 1, scale, bright: null, width: 600 };
    const grid = svg("g", { class: "grid" });
    const lines = svg("g", { class: "lines" });
    const cursor = svg("g", { class: "cursor", visibility: "hidden" }, svg("line", { y1: margin.top, y2: height - margin.bottom }));
    const picture = svg("svg", { class: "curves", height, role: "img", tabindex: small ? "-1" : "0", "aria-label": label }, grid, lines, cursor);
    const readout = node("div", { class: "readout", role: "status", "aria-live": "polite", hidden: true });
    const box = node("div", { class: "curves-box" }, picture, small ? null : readout);
    const drawn = new Map();
    let at = null;

    const across = () => state.width - margin.left - margin.right;
    const x = (step) => margin.left + (across() * step) / Math.max(1, state.steps);
    const top = () => (share ? 1 : Math.max(1e-9, ...state.series.flatMap((one) => one.points.map((point) => point[1]))) * 1.05);
    const y = (value) => margin.top + (height - margin.top - margin.bottom) * (1 - scaled(state.scale, value / top(), 4));

    function ticks() {
      const few = height < 150;
      const marks = state.scale === "log" ? (few ? [1, 0.01, 0.0001] : [1, 0.1, 0.01, 0.001, 0.0001]) : few ? [0, 0.5, 1] : [0, 0.25, 0.5, 0.75, 1];
      return marks.map((mark) => mark * top());
    }
    function drawGrid() {
      if (small) return;
      const words = (value) => (share ? (value && value < 0.01 ? `${value * 100} %` : `${Math.round(value * 100)} %`) : figure(value));
      const across_ = ticks().map((value) => [
        svg("line", { x1: margin.left, x2: state.width - margin.right, y1: y(value), y2: y(value) }),
        svg("text", { x: margin.left - 8, y: y(value) + 4, "text-anchor": "end" }, words(value)),
      ]);
      const apart = Math.ceil(state.steps / 4);
      const last = state.steps;
      const marks = [];
      for (let step = 0; step < last && x(last) - x(step) > 64; step += apart) marks.push(step);
      const down = [...marks, last].map((step) => svg("text", { x: x(step), y: height - 10, "text-anchor": step === 0 ? "start" : step === last ? "end" : "middle" }, step === last ? `step ${step}` : String(step)));
      grid.replaceChildren(...across_.flat(), ...down);
    }
    function drawLine(one, index) {
      let parts = drawn.get(one.id);
      if (!parts) {
        parts = { line: svg("path", { class: "line", fill: "none" }), end: svg("circle", { r: small ? 0 : 3.5, class: "end" }), number: svg("text", { class: "line-number" }) };
        lines.append(parts.line, parts.end, parts.number);
        drawn.set(one.id, parts);
      }
      const kind = `${one.role ? roleClass(one.role) : one.kind === "control" ? "control" : "probe"}${state.bright === one.id ? " bright" : state.bright !== null ? " dim" : ""}`;
      const path = one.points.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      parts.line.setAttribute("d", path);
      parts.line.setAttribute("class", `line ${kind}`);
      parts.line.setAttribute("stroke-dasharray", one.dash || DASHES[one.kind] || "");
      const last = one.points[one.points.length - 1];
      for (const part of [parts.end, parts.number]) part.setAttribute("visibility", last ? "visible" : "hidden");
      if (!last) return null;
      parts.end.setAttribute("cx", x(last[0]));
      parts.end.setAttribute("cy", y(last[1]));
      parts.end.setAttribute("class", `end ${kind}`);
      parts.number.setAttribute("class", `line-number ${kind}`);
      return { parts, index, px: x(last[0]), py: y(last[1]) };
    }
    /* Numbers at the ends of curves must not cover one another, nor leave the picture: those that meet share a line. */
    function placeNumbers(ends) {
      const groups = [];
      for (const end of ends.filter(Boolean).sort((a, b) => a.py - b.py)) {
        const last = groups[groups.length - 1];
        if (last && end.py - last.py < 12) last.ends.push(end);
        else groups.push({ py: end.py, ends: [end] });
      }
      for (const { py, ends: same } of groups) {
        same.sort((a, b) => a.index - b.index);
        same.forEach((end, i) => {
          end.parts.number.textContent = i ? "" : numbers(same.map((one) => one.index + 1));
          end.parts.number.setAttribute("x", end.px + 8);
          end.parts.number.setAttribute("y", py + 4);
        });
      }
    }
    /* 1, 2, 3, 5 → "1–3, 5" */
    function numbers(all) {
      const runs = [];
      for (const one of all) {
        const run = runs[runs.length - 1];
        if (run && one === run[1] + 1) run[1] = one;
        else runs.push([one, one]);
      }
      return runs.map(([from, to]) => (from === to ? String(from) : `${from}–${to}`)).join(", ");
    }
    function draw() {
      picture.setAttribute("viewBox", `0 0 ${state.width} ${height}`);
      const kept = new Set(state.series.map((one) => one.id));
      for (const [id, parts] of drawn) {
        if (!kept.has(id)) {
          Object.values(parts).forEach((part) => part.remove());
          drawn.delete(id);
        }
      }
      drawGrid();
      const ends = state.series.map(drawLine);
      if (!small && state.series.length > 1) placeNumbers(ends);
    }
    function nearest(one, step) {
      return one.points.reduce((best, point) => (best && Math.abs(best[0] - step) <= Math.abs(point[0] - step) ? best : point), null);
    }
    function read(step) {
      at = Math.min(state.steps, Math.max(0, Math.round(step)));
      const found = state.series.map((one, i) => ({ one, i, point: nearest(one, at) })).filter(({ point }) => point);
      if (!found.length) return;
      at = found[0].point[0];
      cursor.setAttribute("visibility", "visible");
      cursor.firstChild.setAttribute("x1", x(at));
      cursor.firstChild.setAttribute("x2", x(at));
      readout.hidden = false;
      fill(readout, node("strong", {}, `step ${at} `), found.map(({ one, i, point }) => node("span", { class: one.kind === "control" ? "control" : "" },
        `${i + 1}: ${share ? percent(point[1]) : figure(point[1])}`)));
    }
    function leave() {
      cursor.setAttribute("visibility", "hidden");
      readout.hidden = true;
      at = null;
    }
    if (!small) {
      picture.addEventListener("pointermove", (event) => {
        const frame = picture.getBoundingClientRect();
        read((((event.clientX - frame.left) * state.width) / frame.width - margin.left) * (state.steps / Math.max(1, across())));
      });
      picture.addEventListener("pointerleave", leave);
      picture.addEventListener("blur", leave);
      picture.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: -1, ArrowRight: 1, PageDown: 10, PageUp: -10 }[event.key];
        if (!move) return;
        event.preventDefault();
        const steps = [...new Set(state.series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
        const here = at === null ? (move > 0 ? -1 : steps.length) : steps.indexOf(at);
        if (steps.length) read(steps[Math.min(steps.length - 1, Math.max(0, here + move))]);
      });
      new ResizeObserver(([entry]) => {
        const width = Math.max(240, Math.round(entry.contentRect.width));
        if (width !== state.width && entry.contentRect.width > 0) {
          state.width = width;
          draw();
        }
      }).observe(box);
    }
    return {
      node: box,
      set(series, { steps } = {}) {
        state.series = series;
        state.steps = steps || Math.max(1, ...series.flatMap((one) => one.points.map((point) => point[0])));
        const words = series.map((one, i) => `${i + 1}, ${one.name}: ${one.points.length ? (share ? percent : figure)(one.points[one.points.length - 1][1]) : "nothing yet"}`);
        picture.setAttribute("aria-label", `${label}, ${series.length} curve${series.length === 1 ? "" : "s"}. ${words.join("; ")}. Arrow keys read the steps.`);
        draw();
      },
      scale(name) { state.scale = name; draw(); },
      bright(id) { state.bright = id; draw(); },
      width(value) { state.width = value; draw(); },
    };
  }

  /** A select with its label; the value is kept by whoever made it. */
  function choice(label, options, value, change) {
    const select = node("select", { onchange: (event) => change(event.target.value) },
      options.map(([key, words]) => node("option", { value: key, selected: key === value }, words)));
    return node("label", { class: "choice" }, node("span", {}, label), select);
  }

  /** Two or three ways to look at the same thing, as buttons of which one is pressed. */
  function switcher(label, options, value, change) {
    const group = node("div", { class: "segmented", role: "group", "aria-label": label });
    function draw(now) {
      fill(group, options.map(([key, words]) => node("button", {
        type: "button", "aria-pressed": String(key === now), onclick: () => { draw(key); change(key); group.querySelector("[aria-pressed=true]").focus(); },
      }, words)));
    }
    draw(value);
    return group;
  }

  /**
   * Makes a text of token spans walkable: one stop of the tab key, arrows move, Enter picks, hovering shows.
   * options: ready(), show(i), hide(), pick(i); gives {take(spans), activate(i)}
   */
  function walkTokens(text, { ready, show, hide, pick }) {
    const own = `walk${Math.random().toString(36).slice(2, 8)}`;
    let active = -1;
    text.setAttribute("role", "listbox");
    text.tabIndex = 0;
    function activate(i, shown) {
      if (active >= 0 && text.children[active]) text.children[active].classList.remove("active");
      active = i;
      const span = text.children[i];
      span.classList.add("active");
      text.setAttribute("aria-activedescendant", span.id);
      span.scrollIntoView({ block: "nearest" });
      if (shown) show(i);
    }
    /* The token on the next or previous line that lies nearest. */
    function vertical(from, way) {
      const here = text.children[from].getBoundingClientRect();
      let [best, distance] = [from, Infinity];
      for (let i = from + way; i >= 0 && i < text.children.length; i += way) {
        const spot = text.children[i].getBoundingClientRect();
        const lines = Math.abs(spot.top - here.top);
        if (lines < 4) continue;
        const away = Math.abs(spot.left - here.left);
        if (best !== from && (lines > 60 || away >= distance)) break;
        [best, distance] = [i, away];
      }
      return best;
    }
    const indexOf = (event) => {
      const span = event.target.closest && event.target.closest("[role=option]");
      return span && span.parentElement === text ? Number(span.dataset.i) : -1;
    };
    text.addEventListener("pointerover", (event) => {
      const i = indexOf(event);
      if (i >= 0 && event.pointerType !== "touch") show(i);
    });
    text.addEventListener("pointerleave", () => { if (document.activeElement !== text) hide(); });
    text.addEventListener("click", (event) => {
      const i = indexOf(event);
      if (i < 0) return;
      activate(i, false);
      pick(i);
    });
    text.addEventListener("focus", () => { if (ready() && text.matches(":focus-visible")) activate(Math.max(0, active), true); });
    text.addEventListener("blur", hide);
    text.addEventListener("keydown", (event) => {
      const last = text.children.length - 1;
      if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const here = Math.max(0, active);
      const moves = {
        ArrowRight: () => Math.min(last, here + 1), ArrowLeft: () => Math.max(0, here - 1), Home: () => 0, End: () => last,
        ArrowDown: () => vertical(here, 1), ArrowUp: () => vertical(here, -1),
      };
      if (moves[event.key]) activate(moves[event.key](), true);
      else if (event.key === "Enter" || event.key === " ") { activate(here, false); pick(here); } else if (event.key === "Escape") hide();
      else return;
      event.preventDefault();
    });
    return {
      activate,
      take(spans) {
        spans.forEach((span, i) => {
          span.setAttribute("role", "option");
          span.id = `${own}-${i}`;
          span.dataset.i = i;
        });
        active = -1;
        text.removeAttribute("aria-activedescendant");
        fill(text, spans);
      },
    };
  }

  const QUESTIONS = { forgotten: "Forgotten?", intact: "Everything else intact?" };
  const ANSWERS = { yes: "yes", partly: "partly", no: "no", unknown: "not known" };
  /** The run's own verdicts: {forgotten: {answer, text}, intact: {…}} → cards, or null where there are none. */
  function verdictCards(verdicts) {
    const found = Object.entries(QUESTIONS).filter(([key]) => verdicts && verdicts[key]);
    return found.length ? node("div", { class: "verdicts" }, found.map(([key, title]) => node("div", { class: "verdict", "data-answer": verdicts[key].answer },
      node("h4", {}, title, " ", node("strong", {}, ANSWERS[verdicts[key].answer] || "")), node("p", {}, verdicts[key].text)))) : null;
  }

  return { verdictCards, walkTokens, roleName, roleTerm, roleClass, token, spelled, spoken, duration, figure, scaled, followJob, waiting, problem, bar, tokenBars, curves, choice, switcher };
})());
