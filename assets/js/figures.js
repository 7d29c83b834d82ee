/* Figures with their intervals, lines over any scale, and points of two figures: what evaluations are drawn with. */
Object.assign(window.forgetting, (() => {
  const { element: node, svg, fill, figure, roleName, roleTerm, roleClass } = window.forgetting;
  const DASHES = { baseline: "", unlearned: "", never_taught: "9 3 2 3", reinforced: "7 4", prompted: "12 4", filtered: "7 4", reinforced_formula: "2 4" };
  const SHAPES = { baseline: "circle", unlearned: "circle", never_taught: "diamond", prompted: "square", filtered: "triangle", reinforced_formula: "cross" };

  /** A round number not below `value`: 1, 2, 2.5 or 5 times a power of ten. */
  function roundUp(value) {
    if (!(value > 0)) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 1.25, 1.5, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
  }
  /** Ends of an axis that holds zero and all of these. */
  function ends(values) {
    const all = [0, ...values.filter((value) => typeof value === "number")];
    const [least, most] = [Math.min(...all), Math.max(...all)];
    if (least < 0 && most === 0) return [-roundUp(-least), 0];
    return [least < 0 ? -roundUp(-least) : 0, roundUp(Math.max(most, 0.01))];  // what is shown as 0.000 is not made large
  }
  const short = (value) => (value === 0 ? "0" : String(Number(value.toPrecision(3))));

  /**
   * One row a model: a dot with its interval, the number beside it; a line across all rows at the perfect score.
   * rows: [{role, title, value, low, high, text, interval, count, plain?, back?}]; perfect: {value, text, whose} or null
   */
  function intervals(rows, { perfect = null, caption = "" } = {}) {
    const [from, to] = ends(rows.flatMap((row) => [row.value, row.low, row.high, row.plain]).concat(perfect ? [perfect.value] : []));
    const at = (value) => `${Math.min(100, Math.max(0, (100 * (value - from)) / (to - from))).toFixed(2)}%`;
    const track = (row) => node("div", { class: "iv-track", "aria-hidden": "true" },
      perfect ? node("span", { class: "iv-perfect", style: `left:${at(perfect.value)}` }) : null,
      row.low !== undefined ? node("span", { class: "iv-range", style: `left:${at(row.low)};right:calc(100% - ${at(row.high)})` }) : null,
      typeof row.plain === "number" ? node("span", { class: "iv-plain", style: `left:${at(row.plain)}` }) : null,
      typeof row.value === "number" ? node("span", { class: `iv-dot ${SHAPES[row.role] || "circle"}`, style: `left:${at(row.value)}` }) : null);
    const line = (row) => node("tr", { class: roleClass(row.role) }, node("th", { scope: "row", title: roleTerm(row.role) }, row.title || roleName(row.role), row.back ? node("span", { class: "iv-back", title: "the attack brings it back" }, " ↩", node("span", { class: "sr" }, "brought back")) : null), node("td", { class: "iv-cell" }, track(row)),
      node("td", { class: "iv-number", title: [row.plain_text && `asked plainly ${row.plain_text}`, row.interval && `95 % interval ${row.interval}`, row.count && `from ${row.count}`].filter(Boolean).join(", ") || null }, row.text, row.interval ? node("span", { class: "sr" }, `, interval ${row.interval}`) : null, row.plain_text ? node("span", { class: "sr" }, `, asked plainly ${row.plain_text}`) : null));
    const marks = node("tr", { class: "iv-ends", "aria-hidden": "true" }, node("td", {}), node("td", {}, node("div", { class: "row spread" }, node("span", {}, short(from)), node("span", {}, short(to)))), node("td", {}));
    return node("table", { class: "intervals" }, caption ? node("caption", { class: "sr" }, caption) : null, node("colgroup", {}, ["iv-name", "", "iv-figure"].map((name) => node("col", { class: name }))), node("tbody", {}, rows.map(line), marks));
  }

  const MARGIN = { left: 56, right: 16, top: 10, bottom: 42 };
  function stepsOf(from, to, most) {
    const power = 10 ** Math.floor(Math.log10((to - from) / most));
    const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((part) => part >= ((to - from) / most) * 0.9999);
    const found = [];
    for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + step * 1e-6; value += step) found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
    return found;
  }
  /** Grid, numbers and names of both axes, into a group. */
  function axes(group, { x, y, xs, ys, width, height, xName, yName, words = short, xWords = short }) {
    const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
    group.replaceChildren(...ys.flatMap((value) => [svg("line", { x1: left, x2: right, y1: y(value), y2: y(value) }), svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, words(value))]),
      ...xs.map((value) => svg("text", { x: x(value), y: bottom + 18, "text-anchor": "middle" }, xWords(value))),
      svg("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle", class: "axis-name" }, xName),
      svg("text", { x: 12, y: (top + bottom) / 2, "text-anchor": "middle", class: "axis-name", transform: `rotate(-90 12 ${(top + bottom) / 2})` }, yName));
  }
  /** Redraws at the width that its box has. */
  function responsive(box, draw) {
    let shown = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.max(240, Math.round(entry.contentRect.width));
      if (width !== shown && entry.contentRect.width > 0) { shown = width; draw(width); }
    }).observe(box);
  }

  /** Lines of several models over any figure. series: [{role, title, points: [[x, y]]}] */
  function lines(series, { x: xName = "", y: yName = "", height = 220, label = "" } = {}) {
    const all = series.flatMap((one) => one.points);
    if (!all.length) return node("p", { class: "hint" }, "Nothing was recorded.");
    const [xFrom, xTo] = [Math.min(...all.map((point) => point[0])), Math.max(...all.map((point) => point[0]))];
    const [yFrom, yTo] = ends(all.map((point) => point[1]));
    const grid = svg("g", { class: "grid" });
    const body = svg("g", {});
    const cursor = svg("line", { class: "cursor-line", visibility: "hidden", y1: MARGIN.top, y2: height - MARGIN.bottom });
    const last = series.map((one) => `${one.title}: from ${figure(one.points[0][1])} to ${figure(one.points[one.points.length - 1][1])}`).join("; ");
    const picture = svg("svg", { class: "curves lines", height, role: "img", tabindex: "0", "aria-label": `${label}. ${yName} over ${xName}. ${last}. Arrow keys read the points.` }, grid, cursor, body);
    const readout = node("div", { class: "readout", role: "status", hidden: true });
    const box = node("div", { class: "curves-box" }, picture, readout);
    const places = [...new Set(all.map((point) => point[0]))].sort((a, b) => a - b);
    let [width, at] = [600, -1];
    const x = (value) => MARGIN.left + ((width - MARGIN.left - MARGIN.right) * (value - xFrom)) / (xTo - xFrom || 1);
    const y = (value) => height - MARGIN.bottom - ((height - MARGIN.bottom - MARGIN.top) * (value - yFrom)) / (yTo - yFrom || 1);
    responsive(box, (now) => {
      width = now;
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      axes(grid, { x, y, width, height, xName, yName, xs: stepsOf(xFrom, xTo, width > 420 ? 8 : 4), ys: stepsOf(yFrom, yTo, 4) });
      body.replaceChildren(...series.flatMap((one) => [
        svg("path", { class: `line ${roleClass(one.role)}`, fill: "none", "stroke-dasharray": DASHES[one.role] || "", d: one.points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("") }),
        ...one.points.map(([a, b]) => svg("circle", { class: `end ${roleClass(one.role)}`, r: 2.6, cx: x(a), cy: y(b) }))]));
    });
    function read(i) {
      at = Math.min(places.length - 1, Math.max(0, i));
      cursor.setAttribute("visibility", "visible");
      for (const side of ["x1", "x2"]) cursor.setAttribute(side, x(places[at]));
      readout.hidden = false;
      const near = (one) => one.points.find((point) => point[0] === places[at]);
      fill(readout, node("strong", {}, `${xName} ${short(places[at])}`), series.filter(near).map((one) => node("span", {}, `${one.title} ${figure(near(one)[1])}`)));
    }
    function leave() { cursor.setAttribute("visibility", "hidden"); readout.hidden = true; at = -1; }
    picture.addEventListener("pointermove", (event) => {
      const frame = picture.getBoundingClientRect();
      const here = ((event.clientX - frame.left) * width) / frame.width;
      read(places.reduce((best, value, i) => (Math.abs(x(value) - here) < Math.abs(x(places[best]) - here) ? i : best), 0));
    });
    picture.addEventListener("pointerleave", leave);
    picture.addEventListener("blur", leave);
    picture.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      read(at < 0 ? (move > 0 ? 0 : places.length - 1) : at + move);
    });
    return node("div", {}, box, series.length > 1 ? legend(series) : null);
  }
  /** What the lines or points of each model look like. */
  function legend(series) {
    return node("ul", { class: "role-legend" }, series.map((one) => node("li", { class: roleClass(one.role) },
      svg("svg", { width: 26, height: 10, "aria-hidden": "true", class: "curves" }, svg("line", { x1: 1, x2: 25, y1: 5, y2: 5, class: "line", "stroke-dasharray": DASHES[one.role] || "" })), one.title)));
  }

  function mark(shape, x, y, size) {
    const [a, b, c, d] = [x - size, x + size, y - size, y + size];
    if (shape === "square") return svg("rect", { x: a, y: c, width: 2 * size, height: 2 * size });
    if (shape === "diamond") return svg("path", { d: `M${x} ${c}L${b} ${y}L${x} ${d}L${a} ${y}Z` });
    if (shape === "triangle") return svg("path", { d: `M${x} ${c}L${b} ${d}L${a} ${d}Z` });
    if (shape === "cross") return svg("path", { d: `M${a} ${c}L${b} ${d}M${b} ${c}L${a} ${d}`, class: "open" });
    return svg("circle", { cx: x, cy: y, r: size });
  }
  /**
   * Points of two figures. points: [{role, x, left, right, y, low, high, label, says}]; x and y as shares (shown in per cent).
   * From left to right and from low to high are intervals, drawn where they are numbers.
   * The upper left is best: it says so.
   */
  function points(all, { x: xName, y: yName, height = 380, label = "", best = "best" } = {}) {
    const [xFrom, xTo] = ends([...all.flatMap((one) => [one.x, one.left, one.right]), 0.05]);
    const yValues = all.flatMap((one) => [one.y, one.low, one.high]).filter((value) => typeof value === "number");
    const [yFrom, yTo] = [Math.min(0, Math.max(-0.5, Math.floor(Math.min(...yValues) * 10) / 10)), Math.max(1.05, Math.min(1.25, Math.max(...yValues)))];
    const grid = svg("g", { class: "grid" });
    const body = svg("g", {});
    const picture = svg("svg", { class: "curves points", height, role: "group", "aria-label": label }, grid, body);
    const box = node("div", { class: "curves-box" }, picture);
    const percent = (value) => `${Math.round(100 * value * 10) / 10} %`;
    const top = 36;  // room for the words that say where best is
    responsive(box, (width) => {
      const pad = 14;
      const x = (value) => MARGIN.left + pad + ((width - MARGIN.left - MARGIN.right - 2 * pad) * (value - xFrom)) / (xTo - xFrom);
      const y = (value) => height - MARGIN.bottom - ((height - MARGIN.bottom - top) * (Math.min(yTo, Math.max(yFrom, value)) - yFrom)) / (yTo - yFrom);
      picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
      axes(grid, { x, y, width, height, xName, yName, words: percent, xWords: percent, xs: stepsOf(xFrom, xTo, width > 420 ? 6 : 4), ys: stepsOf(Math.min(0, yFrom), 1, 4) });
      grid.append(svg("text", { x: MARGIN.left, y: 16, class: "best" }, `↖ ${best}`));
      const taken = [];
      body.replaceChildren(...[...all].sort((a, b) => (a.role === "unlearned") - (b.role === "unlearned")).map((one) => {
        const [px, py] = [x(one.x), y(one.y)];
        const bold = one.role === "unlearned";
        const leftwards = px > width * 0.62;
        const words = one.label.length > 34 ? `${one.label.slice(0, 33)}…` : one.label;
        const [from, to] = leftwards ? [px - 12 - 8 * words.length, px] : [px, px + 12 + 8 * words.length];
        let ty = typeof one.left === "number" ? py - 6 : py + 4;  // no line through the words
        while (taken.some(([a, b, other]) => a < to && from < b && Math.abs(other - ty) < 14)) ty += 20;
        taken.push([from, to, ty]);
        return svg("g", { class: `point ${roleClass(one.role)}${bold ? " bold" : ""}`, tabindex: "0", role: "img", "aria-label": one.says }, svg("title", {}, one.says),
          typeof one.low === "number" ? svg("line", { class: "range", x1: px, x2: px, y1: y(one.low), y2: y(one.high) }) : svg("g", {}),
          typeof one.left === "number" ? svg("line", { class: "range", x1: x(one.left), x2: x(one.right), y1: py, y2: py }) : svg("g", {}),
          mark(SHAPES[one.role] || "circle", px, py, bold ? 7 : 5),
          svg("text", { x: leftwards ? px - 12 : px + 12, y: ty, "text-anchor": leftwards ? "end" : "start" }, words));
      }));
    });
    return box;
  }

  return { intervals, lines, points, legend };
})());
