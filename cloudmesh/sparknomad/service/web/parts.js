// Pieces of pages.

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const drawn = new WeakMap();

// Draw a part anew if what it shows has changed; what has the focus keeps it, what is open stays so.
export function renew(place, data, draw) {
  const text = JSON.stringify(data);
  if (drawn.get(place) === text) return;
  drawn.set(place, text);
  const mark = marked(place, document.activeElement);
  const open = [...place.querySelectorAll("details[open]")].map((each) => each.id);
  place.replaceChildren(...draw(data));
  for (const each of place.querySelectorAll("details")) each.open = open.includes(each.id);
  if (mark) place.querySelector(mark)?.focus({ preventScroll: true });
}

// By what an element is found again when its part was drawn anew.
function marked(place, element) {
  if (!place.contains(element)) return "";
  for (const name of ["id", "href", "aria-label"]) {
    const value = element.getAttribute(name);
    if (value) return `[${name}="${CSS.escape(value)}"]`;
  }
  return "";
}

export function state(value, kind = "") {
  const marked = kind && value === "running" ? `running-${kind}` : value;
  return el("span", { class: "state", "data-state": marked }, value);
}

export function when(seconds) {
  return seconds ? new Date(seconds * 1000).toLocaleString() : "–";
}

export function lasting(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

export function bytes(count) {
  return count > 1e9 ? `${(count / 1e9).toFixed(2)} GB` : `${(count / 1e6).toFixed(1)} MB`;
}

export function table(caption, columns, rows, empty) {
  if (!rows.length) return el("p", {}, empty);
  const head = el("tr", {}, Object.keys(columns).map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((row) =>
    el("tr", {}, Object.values(columns).map((cell) => el("td", {}, cell(row) ?? "–"))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

export function facts(pairs) {
  return el("dl", {}, Object.entries(pairs).filter(([, value]) => value !== null && value !== "")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

export function bars(label, items, format) {
  const most = Math.max(...items.map((item) => item.from + item.size), 1e-9);
  return el("div", { class: "bars", role: "list", "aria-label": label }, items.map((item) => {
    const fill = el("div", { class: "fill" });
    fill.style.left = `${(100 * item.from) / most}%`;
    fill.style.width = `${(100 * item.size) / most}%`;
    return el("div", { class: "bar", role: "listitem" }, el("span", {}, item.name),
      el("div", { class: "track", "aria-hidden": "true" }, fill),
      el("span", {}, format(item)));
  }));
}

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// A graph in columns: each step stands right of all that it waits for.
export function graph(edges, states) {
  const [width, height, gapX, gapY] = [170, 40, 60, 18];
  const depth = {};
  const level = (name) => {
    depth[name] ??= Math.max(-1, ...edges[name].map(level)) + 1;
    return depth[name];
  };
  const names = Object.keys(edges);
  names.forEach(level);
  const used = {};
  const place = {};
  for (const name of names) {
    const row = (used[depth[name]] ??= 0);
    used[depth[name]] += 1;
    place[name] = [10 + depth[name] * (width + gapX), 10 + row * (height + gapY)];
  }
  const across = Math.max(...Object.values(place).map(([x]) => x)) + width + 10;
  const down = Math.max(...Object.values(place).map(([, y]) => y)) + height + 10;
  const told = names.map((name) => `${name} ${states[name] || ""}`).join(", ");
  const picture = svg("svg", {
    class: "graph", viewBox: `0 0 ${across} ${down}`, width: across, height: down,
    role: "img", "aria-label": `Steps: ${told}`,
  });
  for (const name of names) {
    for (const other of edges[name]) {
      const [x0, y0] = [place[other][0] + width, place[other][1] + height / 2];
      const [x1, y1] = [place[name][0], place[name][1] + height / 2];
      const middle = (x0 + x1) / 2;
      picture.append(svg("path", { d: `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}` }));
    }
  }
  for (const name of names) {
    const [x, y] = place[name];
    const text = svg("text", { x: x + width / 2, y: y + height / 2 + 5, "text-anchor": "middle" });
    text.textContent = name.length > 22 ? `${name.slice(0, 21)}…` : name;
    picture.append(svg("g", { "data-state": states[name] || "waiting" },
      svg("rect", { x, y, width, height, rx: 5 }), text));
  }
  return el("div", { class: "scroll" }, picture);
}
