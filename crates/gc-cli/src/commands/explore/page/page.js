"use strict";
{
  const sections = [...document.querySelectorAll("section")];
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href"), a]));
  let current = null;
  let byOffset = new Map();
  let lit = [];
  let pinned = [];

  const unmark = (lines, mark) => lines.forEach((line) => line.classList.remove(mark));

  function pin(offset, from) {
    unmark(pinned, "pinned");
    pinned = offset === null ? [] : byOffset.get(offset) ?? [];
    const seen = new Set(from ? [from.closest(".column")] : []);
    for (const line of pinned) {
      line.classList.add("pinned");
      const column = line.closest(".column");
      if (seen.has(column) || column.hidden) continue;
      seen.add(column);
      // Scrolls the column alone, and only if the line is out of sight.
      const head = column.querySelector("h3").offsetHeight;
      const place = line.getBoundingClientRect();
      const view = column.getBoundingClientRect();
      if (place.top < view.top + head || place.bottom > view.bottom) {
        column.scrollTop += place.top - view.top - view.height / 3;
      }
    }
  }

  function show() {
    const wanted = sections.find((section) => "#" + section.id === location.hash) ?? sections[0];
    if (!wanted || wanted === current) return;
    // Only what is shown becomes a part of the document: a large module has millions of lines.
    const held = wanted.querySelector("noscript");
    if (held) held.outerHTML = held.textContent;
    current?.classList.remove("current");
    links.get("#" + current?.id)?.classList.remove("current");
    current = wanted;
    current.classList.add("current");
    choose();
    const link = links.get("#" + current.id);
    link?.classList.add("current");
    link?.scrollIntoView({ block: "nearest" });
    pinned = [];
    lit = [];
    byOffset = new Map();
    for (const line of current.querySelectorAll("[data-o]")) {
      line.classList.remove("lit", "pinned");
      const lines = byOffset.get(line.dataset.o);
      if (lines) lines.push(line);
      else byOffset.set(line.dataset.o, [line]);
    }
  }

  function choose() {
    const on = (kind) =>
      new Set(
        [...document.querySelectorAll(`[data-kind=${kind}][aria-pressed=true]`)].map((b) => b.dataset.n),
      );
    const [collectors, views] = [on("collector"), on("view")];
    for (const column of current.querySelectorAll(".column")) {
      const users = column.dataset.collectors?.split(" ") ?? null;
      const used = users === null || users.some((user) => collectors.has(user));
      column.hidden = !used || !views.has(column.dataset.view);
    }
  }

  const main = document.querySelector("main");
  main.addEventListener("mouseover", (event) => {
    unmark(lit, "lit");
    const line = event.target.closest("[data-o]");
    lit = line ? byOffset.get(line.dataset.o) ?? [] : [];
    lit.forEach((line) => line.classList.add("lit"));
  });
  main.addEventListener("mouseleave", () => {
    unmark(lit, "lit");
    lit = [];
  });
  main.addEventListener("click", (event) => {
    const line = event.target.closest(".l");
    if (!line || String(getSelection())) return;
    if (line.dataset.o) pin(line.classList.contains("pinned") ? null : line.dataset.o, line);
    // A jump shows where it leads to.
    current.querySelectorAll(".landed").forEach((line) => line.classList.remove("landed"));
    if (line.dataset.to) {
      const target = line.closest(".code").querySelector(`[data-a="${line.dataset.to}"]`);
      target?.classList.add("landed");
      target?.scrollIntoView({ block: "nearest" });
    }
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") pin(null, null);
  });
  for (const button of document.querySelectorAll(".switch")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      choose();
    });
  }
  document.querySelector("#filter").addEventListener("input", (event) => {
    const part = event.target.value.toLowerCase();
    for (const item of document.querySelectorAll("nav li")) {
      item.hidden = !item.querySelector("span").textContent.toLowerCase().includes(part);
    }
  });
  document.querySelector("#theme").addEventListener("click", () => {
    const style = document.documentElement.style;
    const dark = style.colorScheme
      ? style.colorScheme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    style.colorScheme = dark ? "light" : "dark";
  });
  addEventListener("hashchange", show);
  document.documentElement.classList.add("scripted");
  show();
}
