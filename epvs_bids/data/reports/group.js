"use strict";
(function () {
  const STEP = 100;    // rows made at a time
  const PRINTED = 500; // rows on paper at most
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const box = table.parentElement;
  const { columns, labels, rows: given } = JSON.parse(document.getElementById("rows").textContent);
  if (!given.length) return;
  const rows = given.map(([page, kinds, score, cells]) => ({
    page, kinds, score, cells, text: cells.join(" ").toLowerCase(), element: null,
    name: cells.slice(0, labels).filter(Boolean).join(" "),
  }));
  const field = (id) => document.getElementById(id);

  // Only rows that come into view are made: thousands of them would take seconds to lay out.
  const make = (row) => {
    const line = document.createElement("tr");
    line.className = row.kinds;
    row.cells.forEach((content, column) => {
      const cell = line.insertCell();
      if (columns[column].numeric) cell.className = "n";
      if (column === 0 && row.page) {
        const link = document.createElement("a");
        link.href = encodeURIComponent(row.page);
        link.textContent = content;
        cell.append(link);
      } else cell.textContent = content;
    });
    return line;
  };
  let kept = rows;
  let shown = 0;
  const more = (until) => {
    const next = kept.slice(shown, until);
    next.forEach((row) => { row.element ??= make(row); });
    body.append(...next.map((row) => row.element));
    shown += next.length;
    field("cut").textContent = "";
  };
  const show = () => {
    body.replaceChildren();
    box.scrollTop = 0;
    shown = 0;
    more(STEP);
  };
  box.addEventListener("scroll", () => {
    if (box.scrollTop + 2 * box.clientHeight > box.scrollHeight) more(shown + STEP);
  }, { passive: true });
  window.addEventListener("beforeprint", () => {
    more(PRINTED);
    if (shown < kept.length) field("cut").textContent = `The first ${shown} of ${kept.length} rows; group_scores.tsv has all.`;
  });
  window.addEventListener("afterprint", () => { field("cut").textContent = ""; });

  // Sorting: numbers as numbers, missing ones last, ties in the order that was.
  const value = (row, column) => {
    if (!columns[column].numeric) return row.cells[column];
    const found = parseFloat(row.cells[column].replace("−", "-"));
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
      filter();
    });
  });

  // Filtering: all conditions at once.
  const filter = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const kind = field("show").value;
    const low = field("low").value === "" ? -Infinity : Number(field("low").value);
    const high = field("high").value === "" ? Infinity : Number(field("high").value);
    const bounded = low > -Infinity || high < Infinity;
    kept = rows.filter((row) => words.every((word) => row.text.includes(word)) &&
      (kind === "" || (kind === "look" && row.kinds !== "") || row.kinds.split(" ").includes(kind)) &&
      (!bounded || (row.score !== null && row.score >= low && row.score <= high)));
    field("count").textContent = `${kept.length} of ${rows.length} rows`;
    show();
  };
  ["search", "low", "high"].forEach((id) => field(id).addEventListener("input", filter));
  field("show").addEventListener("change", filter);
  show();

  // The dot plot: a histogram whose units are scans. One path holds all dots of a kind.
  const scored = rows.filter((row) => row.score !== null).sort((a, b) => a.score - b.score);
  if (!scored.length) return;
  const plot = () => {
    const width = Math.max(480, Math.min(1160, field("dots").clientWidth)); // letters stay as large as they are
    const left = 58, right = 12, base = 40, tall = 320, crown = 26;
    const bottom = Math.min(scored[0].score, 0), top = Math.max(scored[scored.length - 1].score, 1);
    const stacked = (size) => {
      const bins = Math.floor((width - left - right) / size);
      const stacks = Array.from({ length: bins }, () => []);
      scored.forEach((row) => stacks[Math.round((row.score - bottom) / (top - bottom) * (bins - 1))].push(row));
      return stacks;
    };
    const highest = (stacks) => Math.max(...stacks.map((stack) => stack.length));
    let size = 10; // of a dot's cell; smaller until the tallest stack fits, or it is too small to be seen
    while (size > 4.5 && highest(stacked(size)) * size > tall) size *= 0.9;
    const stacks = stacked(size);
    const tallest = highest(stacks);
    const step = (width - left - right) / stacks.length;
    const rise = Math.min(step, tall / tallest);
    const radius = Math.max(1.5, Math.min(step, rise) * 0.46);
    const floor = Math.max(tallest * rise + crown, 110); // room for the axis' name
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${floor + base}`);
    const draw = (kind, attributes, content) => {
      const element = document.createElementNS(svg.namespaceURI, kind);
      Object.entries(attributes).forEach(([name, given]) => element.setAttribute(name, given));
      if (content !== undefined) element.textContent = content;
      svg.append(element);
      return element;
    };
    const round = (least, steps) => {
      const unit = 10 ** Math.floor(Math.log10(least));
      return unit * steps.find((factor) => unit * factor >= least);
    };
    const place = (stack, index) => [left + (stack + 0.5) * step, floor - 3 - (index + 0.5) * rise];
    const x = (score) => left + (score - bottom) / (top - bottom) * (width - left - right - step) + step / 2;
    draw("line", { x1: left, x2: width - right, y1: floor, y2: floor, stroke: "#57606a" });
    const tick = round((top - bottom) / 10, [1, 2, 5, 10]);
    for (let at = Math.ceil(bottom / tick) * tick; at <= top; at += tick) {
      draw("line", { x1: x(at), x2: x(at), y1: floor, y2: floor + 5, stroke: "#57606a" });
      draw("text", { x: x(at), y: floor + 18, "text-anchor": "middle" }, String(Number(at.toFixed(6))));
    }
    const grade = round(Math.max(tallest / 5, 14 / rise, 1), [1, 2, 5, 10]); // numbers do not touch
    for (let at = Math.min(grade, tallest); at <= tallest; at += grade) {
      const y = floor - 3 - at * rise;
      draw("line", { x1: left, x2: width - right, y1: y, y2: y, stroke: "#d8dee4" });
      draw("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, String(at));
    }
    draw("text", { x: (left + width) / 2, y: floor + 36, "text-anchor": "middle" }, "score (EPVS)");
    draw("text", { x: 14, y: floor / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${floor / 2})` }, "scans (number)");
    const outlines = { failed: "", outlier: "", within: "" };
    stacks.forEach((stack, bin) => stack.forEach((row, index) => {
      const [cx, cy] = place(bin, index).map((at) => at.toFixed(1));
      const kind = row.kinds.split(" ")[0] || "within";
      const half = kind === "within" ? radius : Math.max(radius, 3); // those to look at have to be seen
      const r = half.toFixed(2), d = (2 * half).toFixed(2);
      outlines[kind] += kind === "failed" ? `M${cx} ${cy}m-${r} -${r}h${d}v${d}h-${d}z` : `M${cx} ${cy}m-${r} 0a${r} ${r} 0 1 0 ${d} 0a${r} ${r} 0 1 0 -${d} 0`;
    }));
    const colours = { within: "#0072b2", outlier: "#a91d6a", failed: "#d55e00" };
    Object.entries(colours).forEach(([kind, fill]) => draw("path", { d: outlines[kind], fill, class: `dots ${kind}` }));

    // Which dot lies under the mouse follows from the place: a little beside a dot counts too.
    const ring = draw("circle", { r: radius + 3, fill: "none", stroke: "#1f2328", "stroke-width": 2, visibility: "hidden" });
    const label = draw("text", { class: "name", y: 14, visibility: "hidden" });
    const under = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const near = Math.floor((at.x - left) / step), index = Math.floor((floor - 3 - at.y) / rise);
      const bin = [0, -1, 1].map((shift) => near + shift).find((one) => stacks[one]?.[Math.max(index, 0)]);
      return bin === undefined || index < -2 ? null : { bin, index: Math.max(index, 0), row: stacks[bin][Math.max(index, 0)] };
    };
    let marked = null;
    const mark = (found) => {
      marked?.element?.classList.remove("at");
      marked = found?.row ?? null;
      marked?.element?.classList.add("at");
      [ring, label].forEach((one) => one.setAttribute("visibility", found ? "visible" : "hidden"));
      svg.style.cursor = found?.row.page ? "pointer" : "default";
      if (!found) return;
      const [cx, cy] = place(found.bin, found.index);
      ring.setAttribute("cx", cx);
      ring.setAttribute("cy", cy);
      label.setAttribute("x", cx);
      label.setAttribute("text-anchor", cx < width * 0.15 ? "start" : cx > width * 0.85 ? "end" : "middle");
      label.textContent = `${found.row.name}: ${found.row.score.toFixed(1)} EPVS`;
    };
    svg.addEventListener("mousemove", (event) => mark(under(event)));
    svg.addEventListener("mouseleave", () => mark(null));
    svg.addEventListener("click", (event) => {
      const found = under(event);
      if (found?.row.page) window.location.href = encodeURIComponent(found.row.page);
    });
    field("dots").replaceChildren(svg);
  };
  plot();
  let drawn = field("dots").clientWidth;
  window.addEventListener("resize", () => {
    if (field("dots").clientWidth === drawn) return;
    drawn = field("dots").clientWidth;
    plot();
  });
})();
