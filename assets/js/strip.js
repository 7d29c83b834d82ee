/*
 * The token strip: a text whose tokens are coloured by how a model, or two, saw them coming.
 * value: null | {job} | {roles, tokens, p: {role: []}, rank: {role: []}, kl, words, top: {role: []}, cut, total}
 *        and, all optional: measure, role, scale, label, error, heading, changes (what the list of changes is called),
 *        pins: false where a click has nothing to pin it to and leaves the alternatives open instead
 * events: "pin" {index, token, context} (a token was clicked, or Enter pressed on it), "measured" {job} (it is drawn)
 */
const { element: node, fill, percent, token, spelled, spoken, roleName, roleClass, scaled, choice, bar, figure, walkTokens } = window.forgetting;
const MEASURES = {
  p: { name: "probability", needs: 1, scale: "sqrt" },
  log: { name: "surprise (−log₂ p, bits)", needs: 1, scale: "linear" },
  rank: { name: "rank", needs: 1, scale: "log" },
  dp: { name: "change of probability (Δp)", needs: 2, scale: "sqrt" },
  drank: { name: "change of rank", needs: 2, scale: "log" },
  kl: { name: "how far the two models disagree (KL divergence)", needs: 2, scale: "sqrt" },
};
const chosen = { measure: null, role: null, scale: null };
const MOST = 8;
let data = null;
let pinned = -1;
let stop = null;

const heading = node("h3", { class: "strip-title", hidden: true });
const tools = node("div", { class: "strip-tools" });
const legend = node("p", { class: "strip-legend" });
const text = node("div", { class: "strip-text", dir: "auto" });
const tip = node("div", { class: "strip-tip", hidden: true });
const rest = node("p", { class: "strip-rest" });
const biggest = node("div", { class: "strip-biggest" });
const place = node("div", { class: "strip-place" });
fill(element, heading, tools, legend, place, rest, biggest);

const two = () => data.roles.length > 1;
const pairOf = (field, i) => [data[field][data.roles[0]][i], data[field][data.roles[1]][i]];

/* Strength 0…1, direction (−1 down, 1 up, 0 one-sided) and words of a token under the measure chosen. */
function reading(i) {
  const { measure, role, scale } = chosen;
  const p = data.p[role][i];
  if (p === null || p === undefined) return { share: 0, way: 0, words: "the first token: nothing stands before it" };
  if (measure === "p") return { share: scaled(scale, p, 5), way: 0, words: `probability ${percent(p)}` };
  if (measure === "log") {
    const bits = -Math.log2(Math.max(p, 1e-30));
    return { share: scaled(scale, bits / 16, 2), way: 0, words: `surprise ${figure(bits)} bits` };
  }
  if (measure === "rank") {
    const rank = data.rank[role][i];
    return { share: 1 - scaled(scale === "log" ? "linear" : scale, scale === "log" ? Math.log10(rank) / 4 : (rank - 1) / 200), way: 0, words: `rank ${rank.toLocaleString("en")}` };
  }
  if (measure === "kl") return { share: scaled(scale, data.kl[i] / 5, 3), way: 0, words: `KL divergence ${figure(data.kl[i])} nats` };
  const [before, after] = pairOf(measure === "dp" ? "p" : "rank", i);
  if (measure === "dp") {
    return { share: scaled(scale, Math.abs(after - before), 4), way: Math.sign(after - before), words: `probability ${percent(before)} → ${percent(after)}` };
  }
  const share = scale === "log" ? Math.abs(Math.log10(after / before)) / 3 : scaled(scale, Math.abs(after - before) / 500);
  return { share: Math.min(1, share), way: Math.sign(before - after), words: `rank ${before.toLocaleString("en")} → ${after.toLocaleString("en")}` };
}

function paint() {
  const way = chosen.measure === "dp" || chosen.measure === "drank";
  text.className = `strip-text ${way ? "two-ways" : chosen.measure === "kl" ? "tone-kl" : roleClass(chosen.role)}`;
  const spans = text.children;
  for (let i = 0; i < spans.length; i++) {
    const { share, way: direction, words } = reading(i);
    spans[i].style.setProperty("--h", share.toFixed(3));
    spans[i].dataset.way = direction < 0 ? "down" : direction > 0 ? "up" : "";
    spans[i].setAttribute("aria-label", `${spoken(data.tokens[i])}: ${words}`);
  }
  drawLegend(way);
}

function drawLegend(way) {
  const step = (h, direction) => node("span", { class: "token", "data-way": direction || "", style: `--h:${h}`, "aria-hidden": "true" }, "  ");
  const ramp = node("span", { class: `ramp ${text.className.replace("strip-text", "")}` }, way
    ? [step(1, "down"), step(0.5, "down"), step(0, ""), step(0.5, "up"), step(1, "up")]
    : [0, 0.25, 0.5, 0.75, 1].map((h) => step(h)));
  const ends = { p: ["unlikely", "certain"], log: ["expected", "surprising"], rank: ["far down the list", "first choice"], kl: ["agree", "disagree"],
    dp: [two() && data.roles[1] === "unlearned" ? "fell after (line below)" : "fell (line below)", "rose (line above)"], drank: ["fell in the list (line below)", "rose (line above)"] }[chosen.measure];
  const rank = ["rank", "drank"].includes(chosen.measure) ? node("span", { class: "hint" }, window.forgetting.WORDS.rank) : null;
  fill(legend, node("span", {}, ends[0]), ramp, node("span", {}, ends[1]), rank);
}

function drawTools() {
  const able = Object.entries(MEASURES).filter(([, measure]) => measure.needs <= data.roles.length);
  const perRole = MEASURES[chosen.measure].needs === 1;
  fill(tools,
    choice("Colour by", able.map(([key, measure]) => [key, measure.name]), chosen.measure, (value) => {
      chosen.measure = value;
      chosen.scale = MEASURES[value].scale;
      drawTools();
      paint();
      tools.querySelector("select").focus();
    }),
    two() && perRole ? choice("of the model", data.roles.map((role) => [role, `${roleName(role)}`]), chosen.role, (value) => { chosen.role = value; paint(); }) : null,
    choice("Scale", [["linear", "linear"], ["sqrt", "square root"], ["log", "logarithmic"]], chosen.scale, (value) => { chosen.scale = value; paint(); }));
}

function topOf(role, i) {
  const flat = data.top[role][i] || [];
  return Array.from({ length: flat.length / 2 }, (_, k) => [data.words[flat[2 * k]], flat[2 * k + 1]]);
}

function tipFor(i) {
  const before = i === 0 && data.p[data.roles[0]][0] === null;
  return [
    node("p", { class: "tip-head" }, token(data.tokens[i]), ` ${reading(i).words}`),
    before ? null : node("div", { class: "tip-lists" }, data.roles.map((role) => node("div", {},
      node("p", { class: `tip-role ${roleClass(role)}` }, node("span", { class: "swatch", "aria-hidden": "true" }), `${roleName(role)}: ${percent(data.p[role][i])}, rank ${data.rank[role][i].toLocaleString("en")}`),
      node("ol", {}, topOf(role, i).slice(0, 5).map(([word, p]) => node("li", { class: word === data.tokens[i] ? "here" : "" }, token(word), bar(role, p, percent(p), scaled("sqrt", p)))))))),
    props.value.pins === false ? null : node("p", { class: "tip-foot" }, "Click, or press Enter, to pin it."),
  ];
}

function showTip(i) {
  fill(tip, tipFor(i));
  tip.hidden = false;
  const frame = element.getBoundingClientRect();
  const spot = text.children[i].getClientRects()[0] || text.children[i].getBoundingClientRect();
  const left = Math.min(Math.max(0, spot.left - frame.left - 20), Math.max(0, frame.width - tip.offsetWidth));
  const below = spot.bottom - frame.top + 6;
  const above = spot.top - frame.top - tip.offsetHeight - 6;
  const fits = spot.bottom + tip.offsetHeight + 12 < window.innerHeight || above + frame.top < 0;
  tip.style.left = `${left}px`;
  tip.style.top = `${fits ? below : above}px`;
}
const hideTip = () => { tip.hidden = true; };

function pin(i) {
  if (pinned >= 0 && text.children[pinned]) text.children[pinned].removeAttribute("aria-selected");
  pinned = i;
  text.children[i].setAttribute("aria-selected", "true");
  if (props.value.pins === false) { showTip(i); return; }
  hideTip();
  trigger("pin", { index: i, token: data.tokens[i], context: data.tokens.slice(0, i).join("") });
}

const walk = walkTokens(text, { ready: () => data && data.tokens.length, show: showTip, hide: hideTip, pick: pin });

function drawText() {
  const spans = data.tokens.map((piece, i) => {
    const span = document.createElement("span");
    span.className = piece.trim() ? "token" : piece.includes("\n") ? "token blank line" : "token blank";
    span.textContent = piece || "▫";
    return span;
  });
  pinned = -1;
  text.setAttribute("aria-label", `${data.label || "The text"}, token by token. Arrow keys move, Enter ${props.value.pins === false ? "shows what was likelier" : "pins"}.`);
  walk.take(spans);
  fill(place, text, tip);
}

/* Where the two models differ most, with some words before: click to pin. */
function drawBiggest() {
  if (!two()) { fill(biggest); return; }
  const change = (i) => data.p[data.roles[1]][i] - data.p[data.roles[0]][i];
  const most = data.tokens.map((_, i) => i).slice(1).sort((a, b) => Math.abs(change(b)) - Math.abs(change(a))).filter((i) => Math.abs(change(i)) >= 0.01).slice(0, MOST);
  if (!most.length) { fill(biggest); return; }
  fill(biggest, node("h4", {}, props.value.changes || "Biggest changes in this text"), node("ol", {}, most.map((i) => node("li", {},
    node("button", { type: "button", class: "token-button", onclick: () => { walk.activate(i, false); pin(i); } },
      node("bdi", { class: "hint" }, `…${data.tokens.slice(Math.max(0, i - 8), i).join("").replace(/\s+/g, " ").slice(-48)}`), token(data.tokens[i])),
    node("span", { class: "strip-change" }, `${percent(data.p[data.roles[0]][i])} → ${percent(data.p[data.roles[1]][i])}`)))));
}

function draw(value) {
  data = value;
  if (!chosen.measure || MEASURES[chosen.measure].needs > data.roles.length || value.measure) chosen.measure = value.measure || (two() ? "dp" : "p");
  if (!data.roles.includes(chosen.role)) chosen.role = value.role || data.roles[0];
  if (!chosen.scale || value.scale || value.measure) chosen.scale = value.scale || MEASURES[chosen.measure].scale;
  tools.hidden = legend.hidden = false;
  drawTools();
  drawText();
  paint();
  drawBiggest();
  heading.hidden = !value.heading;
  heading.textContent = value.heading || "";
  rest.textContent = data.cut ? `The first ${data.tokens.length.toLocaleString("en")} of ${data.total.toLocaleString("en")} tokens.` : "";
  trigger("measured", { tokens: data.tokens.length, job: value.job });
}

function nothing(...what) {
  heading.hidden = tools.hidden = legend.hidden = true;
  fill(biggest);
  rest.textContent = "";
  hideTip();
  fill(place, ...what);
}

function update() {
  if (stop) stop();
  stop = null;
  const value = props.value;
  if (!value) nothing();
  else if (value.error) nothing(window.forgetting.problem(value.error, value.hint));
  else if (value.job) {
    stop = window.forgetting.followJob(server.look, value.job, (state) => {
      if (state.state === "done") draw({ ...value, ...state.value });
      else if (state.state === "failed") nothing(window.forgetting.problem(state.message, state.hint));
      else nothing(window.forgetting.waiting(state));
    });
  } else draw(value);
}
watch("value", update);
update();
