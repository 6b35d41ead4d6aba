"use strict";

// Tables sort and filter; without this script they are plain tables in the order of the board.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  new DataTable(table, {
    paging: false, info: false, order: [], autoWidth: false,
    columnDefs: [{ targets: "down", orderSequence: ["desc", "asc", ""] }],
    language: { search: "Filter:", emptyTable: "No submission", zeroRecords: "No submission has these words" },
  });
}

// A menu closes as people expect: on Escape, and on a click elsewhere.
const menus = () => document.querySelectorAll("nav details[open]");
document.addEventListener("keydown", (event) => { if (event.key === "Escape") for (const it of menus()) it.open = false; });
document.addEventListener("click", (event) => { for (const it of menus()) if (!it.contains(event.target)) it.open = false; });

for (const place of document.querySelectorAll("[data-plot]")) draw(place);

function draw(place) {
  const points = JSON.parse(document.getElementById(place.dataset.plot).textContent).points;
  const width = Math.max(320, Math.min(900, place.clientWidth));
  const svg = plotted(points, width);
  // Marks are described as a whole, not one by one: the table has every figure as text.
  for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  svg.setAttribute("role", "img");
  place.replaceChildren(svg);
}

function plotted(points, width) {
  const height = Math.round(width * 0.62);
  const front = points.filter((it) => it.front).sort((a, b) => a.u - b.u);
  const low = Math.min(0, ...points.map((it) => Math.min(it.u_low, it.p_low)));
  const diagonals = [0, 25, 50, 75].map((score) => ({ score, u1: score / 100, p1: 1, u2: 1, p2: score / 100 }));
  const words = (it) => `${it.name}\nscore ${it.score.toFixed(1)}${it.ranked ? "" : ", not ranked"}\nU ${it.u.toFixed(3)}, P ${it.p.toFixed(3)}\n${it.division}`;
  const { right, left } = withRoom(points, width, height, low);
  const label = { x: "u", y: "p", text: "name", fontSize: 12, dy: -8, stroke: "var(--page)", strokeWidth: 4, fill: "currentColor" };
  return Plot.plot({
    width, height, marginLeft: 45, marginBottom: 40, marginRight: 45, marginTop: 30,
    ariaLabel: "Utility against protection of every submission", style: { background: "transparent", fontSize: "12px" },
    x: { label: "utility kept, U →", domain: [low, 1.02], grid: true },
    y: { label: "↑ protection, P", domain: [low, 1.05], grid: true },
    symbol: { domain: ["repaired model", "live defense"], range: ["square", "circle"], legend: false },
    marks: [
      Plot.link(diagonals, { x1: "u1", y1: "p1", x2: "u2", y2: "p2", strokeOpacity: 0.25, strokeDasharray: "4 4" }),
      Plot.text(diagonals, { x: "u2", y: "p2", text: (it) => `S ${it.score}`, textAnchor: "start", dx: 14, fillOpacity: 0.7 }),
      Plot.ruleX(points, { x: "u", y1: "p_low", y2: "p_high", strokeOpacity: 0.4 }),
      Plot.ruleY(points, { y: "p", x1: "u_low", x2: "u_high", strokeOpacity: 0.4 }),
      Plot.line(front, { x: "u", y: "p", curve: "step-before", strokeWidth: 1.5, strokeOpacity: 0.5, strokeDasharray: "2 4" }),
      Plot.dot(points, {
        x: "u", y: "p", symbol: "division", r: 5, stroke: "currentColor",
        fill: (it) => (it.ranked ? "currentColor" : "none"), title: words, tip: true,
      }),
      Plot.text(left, { ...label, dx: -9, textAnchor: "end" }),
      Plot.text(right, { ...label, dx: 9, textAnchor: "start" }),
    ],
  });
}

// Names in the order of the board, ranked ones first, as long as no name would lie upon another or a dot; the rest are told on hovering.
function withRoom(points, width, height, low) {
  const place = (it) => [(it.u - low) / (1.02 - low) * (width - 90), (1.05 - it.p) / (1.05 - low) * (height - 70)];
  const taken = points.map(place).map(([x, y]) => ({ from: x - 5, to: x + 5, y }));
  const sides = { right: [], left: [] };
  for (const it of points.filter((it) => it.ranked).concat(points.filter((it) => !it.ranked))) {
    const [x, y] = place(it);
    const length = 6.6 * it.name.length + 4;
    const side = x > (width - 90) / 2 ? "left" : "right";
    const box = side === "left" ? { from: x - 7 - length, to: x - 7, y } : { from: x + 7, to: x + 7 + length, y };
    if (box.from < -40 || taken.some((other) => Math.abs(other.y - y) < 14 && other.from < box.to && box.from < other.to)) continue;
    taken.push(box);
    sides[side].push(it);
  }
  return sides;
}
