"use strict";
const input = document.getElementById("q");
const live = document.querySelector("[data-live]");
const form = document.querySelector("[data-search]");

// Results while typing: a list that arrows walk through; without this script the form leads to the same list.
let timer;
let asked;
async function look() {
  const words = input.value.trim();
  asked?.abort();
  if (words === "") { live.hidden = true; return; }
  asked = new AbortController();
  const address = new URL(form.action);
  address.search = new URLSearchParams({ q: words, part: "1" });
  try {
    const answer = await fetch(address, { signal: asked.signal });
    if (!answer.ok) return;
    live.innerHTML = await answer.text();
    live.hidden = false;
  } catch (error) {
    if (error.name !== "AbortError") live.hidden = true;
  }
}
input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, 150); });
form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) live.hidden = true; });

function results() {
  const list = live.hidden ? document.querySelector("main [data-results]") : live.querySelector("[data-results]");
  return list ? [...list.querySelectorAll("li > a")] : [];
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const active = document.activeElement;
  const typing = active.matches("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape" && form.contains(active) && !live.hidden) {
    event.preventDefault();
    live.hidden = true;
    input.focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const links = results();
    const place = links.indexOf(active);
    if (links.length === 0 || (place < 0 && active !== input)) return;
    event.preventDefault();
    const next = place + (event.key === "ArrowDown" ? 1 : -1);
    if (next < 0) input.focus();
    else links[Math.min(next, links.length - 1)].focus();
  }
});

// The same track in every column, when one of them is pointed at or has the focus.
document.querySelectorAll("[data-same]").forEach((columns) => {
  const entries = [...columns.querySelectorAll("[data-item]")];
  const mark = (item) => {
    const same = entries.filter((entry) => entry.dataset.item === item);
    entries.forEach((entry) => entry.classList.toggle("same", same.length > 1 && same.includes(entry)));
  };
  const of = (event) => event.target.closest("[data-item]")?.dataset.item;
  columns.addEventListener("mouseover", (event) => mark(of(event)));
  columns.addEventListener("mouseleave", () => mark(undefined));
  columns.addEventListener("focusin", (event) => mark(of(event)));
  columns.addEventListener("focusout", () => mark(undefined));
});
