"use strict";
(function () {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows).filter((row) => "score" in row.dataset);
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const score = (row) => (row.dataset.score === "" ? NaN : Number(row.dataset.score));
  const field = (id) => document.getElementById(id);

  // Sorting: numbers as numbers, missing ones last, ties in the order that was.
  const value = (row, column) => {
    const cell = row.cells[column];
    if (!cell.classList.contains("n")) return cell.textContent.trim();
    const found = parseFloat(cell.textContent);
    return Number.isNaN(found) ? null : found;
  };
  const collator = new Intl.Collator("en", { numeric: true });
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = rows.map((row, index) => ({ row, index, key: value(row, column) }));
      keyed.sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        const order = typeof a.key === "number" ? a.key - b.key : collator.compare(a.key, b.key);
        return (up ? order : -order) || a.index - b.index;
      });
      rows.splice(0, rows.length, ...keyed.map((entry) => entry.row));
      body.append(...rows);
    });
  });

  // Filtering: all conditions at once.
  const filter = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = field("show").value;
    const low = field("low").value === "" ? -Infinity : Number(field("low").value);
    const high = field("high").value === "" ? Infinity : Number(field("high").value);
    const bounded = low > -Infinity || high < Infinity;
    let shown = 0;
    rows.forEach((row) => {
      const failed = row.classList.contains("failed"), outlier = row.classList.contains("outlier");
      const kept = words.every((word) => text.get(row).includes(word)) &&
        (kind === "" || (kind === "look" && (failed || outlier)) || row.classList.contains(kind)) &&
        (!bounded || (score(row) >= low && score(row) <= high));
      row.hidden = !kept;
      shown += kept;
    });
    field("count").textContent = `${shown} of ${rows.length} rows`;
  };
  ["search", "low", "high"].forEach((id) => field(id).addEventListener("input", filter));
  field("show").addEventListener("change", filter);

  // The dot plot: a histogram whose units are scans.
  const scored = rows.filter((row) => !Number.isNaN(score(row)));
  if (!scored.length) return;
  const width = 1160, left = 46, right = 12, base = 40;
  const top = Math.max(...scored.map(score), 1), bottom = Math.min(...scored.map(score), 0);
  const bins = Math.min(116, Math.max(40, Math.round(Math.sqrt(scored.length) * 5)));
  const step = (width - left - right) / bins;
  const x = (number) => left + (number - bottom) / (top - bottom) * (bins - 1) * step + step / 2;
  const stacks = new Map();
  scored.slice().sort((a, b) => score(a) - score(b)).forEach((row) => {
    const bin = Math.round((score(row) - bottom) / (top - bottom) * (bins - 1));
    stacks.set(bin, [...(stacks.get(bin) ?? []), row]);
  });
  const tallest = Math.max(...Array.from(stacks.values(), (stack) => stack.length));
  const rise = Math.max(1.6, Math.min(step, 300 / tallest));
  const height = tallest * rise + base + 14;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const draw = (kind, attributes, content) => {
    const element = document.createElementNS(svg.namespaceURI, kind);
    Object.entries(attributes).forEach(([name, given]) => element.setAttribute(name, given));
    if (content !== undefined) element.textContent = content;
    svg.append(element);
    return element;
  };
  const floor = height - base;
  draw("line", { x1: left, x2: width - right, y1: floor, y2: floor, stroke: "#57606a" });
  const unit = 10 ** Math.floor(Math.log10((top - bottom) / 4));
  const tick = unit * [1, 2, 5, 10].find((factor) => (top - bottom) / (unit * factor) <= 10);
  for (let at = Math.ceil(bottom / tick) * tick; at <= top; at += tick) {
    draw("line", { x1: x(at), x2: x(at), y1: floor, y2: floor + 5, stroke: "#57606a" });
    draw("text", { x: x(at), y: floor + 18, "text-anchor": "middle" }, String(Number(at.toFixed(6))));
  }
  draw("text", { x: (left + width) / 2, y: floor + 36, "text-anchor": "middle" }, "score (EPVS)");
  draw("text", { x: 14, y: floor / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${floor / 2})` }, "scans");
  stacks.forEach((stack, bin) => stack.forEach((row, index) => {
    const failed = row.classList.contains("failed"), outlier = row.classList.contains("outlier");
    const cx = left + bin * step + step / 2, cy = floor - 3 - (index + 0.5) * rise;
    const radius = Math.max(1.4, Math.min(step, rise) * 0.44);
    const fill = failed ? "#d55e00" : outlier ? "#a91d6a" : "#0072b2";
    const dot = failed
      ? draw("rect", { class: "dot", x: cx - radius, y: cy - radius, width: 2 * radius, height: 2 * radius, fill })
      : draw("circle", { class: "dot", cx, cy, r: radius, fill });
    const link = row.querySelector("a");
    const label = document.createElementNS(svg.namespaceURI, "title");
    label.textContent = `${row.cells[0].textContent.trim()}: ${score(row).toFixed(1)} EPVS`;
    dot.append(label);
    dot.addEventListener("click", () => {
      if (link) window.location.href = link.href;
    });
    dot.addEventListener("mouseenter", () => row.classList.add("at"));
    dot.addEventListener("mouseleave", () => row.classList.remove("at"));
  }));
  document.getElementById("dots").append(svg);
})();
