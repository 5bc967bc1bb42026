"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const specs = read("chart-specs");
const config = read("chart-config");
const views = new Map();

// `ast` evaluates chart expressions without eval, which the page's own policy forbids.
const options = { renderer: "svg", actions: false, ast: true, config, logLevel: 1, defaultStyle: false, tooltip: { theme: "custom" } };

async function draw(place) {
  const { view } = await vegaEmbed(place, structuredClone(specs[place.dataset.chart]), options);
  views.set(place, view);
  // The whole chart has one description; its hundreds of parts would only be noise to a screen reader.
  place.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
}
document.querySelectorAll("[data-chart]").forEach((place) => draw(place));

document.querySelectorAll("[data-metric]").forEach((select) => {
  select.addEventListener("change", () => {
    select.closest("section").querySelectorAll("[data-chart]").forEach((place) => {
      if ((specs[place.dataset.chart].params ?? []).some((param) => param.name === "metric")) {
        views.get(place)?.signal("metric", select.value).runAsync();
        place.setAttribute("aria-label", `${place.closest("figure").querySelector("h3").textContent}, ${select.value}`);
      }
    });
  });
});

document.querySelectorAll("[data-ks]").forEach((bar) => {
  const cells = bar.closest("section").querySelectorAll("th[data-k], td[data-k]");
  bar.addEventListener("click", (event) => {
    const k = event.target.dataset.k;
    if (!k) return;
    bar.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.k === k)));
    cells.forEach((cell) => { cell.hidden = cell.dataset.k !== k; });
  });
});

const number = (text) => (text === "" ? NaN : Number(text));
function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  return a.localeCompare(b, undefined, { numeric: true });
}
function sort(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const body = table.tBodies[0];
  const first = header.classList.contains("num") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  table.querySelectorAll("[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.v;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * compare(x, y);
  });
  body.append(...rows);
}
document.querySelectorAll("[data-sort]").forEach((button) => {
  button.addEventListener("click", () => sort(button.closest("th")));
});

document.querySelectorAll("[data-filter]").forEach((input) => {
  const bar = input.closest(".bar");
  const table = bar.nextElementSibling.querySelector("table");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    bar.querySelector("[data-count]").textContent = wanted === "" ? "" : `${shown} of ${table.tBodies[0].rows.length} rows`;
  });
});

document.querySelectorAll("#users .example").forEach((example) => {
  const mark = (event) => {
    const item = event.type === "mouseover" ? event.target.closest("[data-item]")?.dataset.item : undefined;
    const same = [...example.querySelectorAll("[data-item]")].filter((li) => li.dataset.item === item);
    example.querySelectorAll(".same").forEach((li) => li.classList.remove("same"));
    if (same.length > 1) same.forEach((li) => li.classList.add("same"));
  };
  example.addEventListener("mouseover", mark);
  example.addEventListener("mouseleave", mark);
});
