"use strict";
(() => {
  const main = document.querySelector("main");
  const form = main.querySelector("form.filter");
  const search = form.querySelector("input");
  const [clear, ...buttons] = form.querySelectorAll("button");
  const count = form.querySelector("output");
  const textIn = (part, selector) => part?.querySelector(selector)?.textContent ?? "";

  // Every row of a cell and every finding, with the block and the group that are hidden with it.
  const blocks = [...main.querySelectorAll(".block")];
  const groups = [...main.querySelectorAll(".group")];
  const entries = [...main.querySelectorAll("tr[data-v], details[data-v]")].map((element) => ({
    element,
    block: element.closest(".block"),
    group: element.closest(".group") ?? undefined,
    isCell: element.tagName === "TR",
    verdict: element.dataset.v,
    read: false,
  }));
  const total = entries.filter((entry) => entry.isCell).length;

  // Reading ten thousand rows takes time, so it is done when they are first searched.
  const read = (entry) => {
    if (entry.read) return;
    const { element, group = element } = entry;
    const model = textIn(group, ".m");
    const id = `${model}--${textIn(element, "th")}--seed${textIn(element, ".seed")}`;
    entry.model = model.toLowerCase();
    entry.suite = textIn(group, ".s").toLowerCase();
    entry.text = `${entry.suite} ${id} ${element.textContent}`.toLowerCase();
    entry.read = true;
  };

  const parse = (text) =>
    [...text.toLowerCase().matchAll(/(-?)(?:([vsm]):)?(?:"([^"]*)"?|(\S+))/g)]
      .map(([, minus, key, quoted, word]) => ({ not: minus === "-", key, text: quoted ?? word }))
      .filter((term) => term.text);

  const holds = (entry, term) => {
    if (term.key === "v") return entry.verdict.startsWith(term.text);
    read(entry);
    if (term.key === "s") return entry.suite.includes(term.text);
    if (term.key === "m") return entry.model.includes(term.text);
    return entry.text.includes(term.text);
  };

  const isHit = (entry, terms) => {
    const wanted = new Map();
    for (const term of terms) {
      const is = holds(entry, term);
      if (term.not ? is : !term.key && !is) return false;
      if (!term.not && term.key) wanted.set(term.key, is || wanted.get(term.key) || false);
    }
    // Several of one key are alternatives: no cell has two verdicts.
    return [...wanted.values()].every(Boolean);
  };

  const hide = (element, hidden) => {
    if (element.hidden !== hidden) element.hidden = hidden;
  };

  const filter = () => {
    const terms = parse(search.value);
    const hit = new Set();
    let cells = 0;
    for (const entry of entries) {
      const is = isHit(entry, terms);
      hide(entry.element, !is);
      if (!is) continue;
      if (entry.block) hit.add(entry.block);
      if (entry.group) hit.add(entry.group);
      cells += entry.isCell;
    }
    for (const part of [...blocks, ...groups]) hide(part, !hit.has(part));
    count.textContent = `${cells} of ${total} cells`;
    for (const button of buttons) {
      const isOn = terms.some((term) => term.key === "v" && !term.not && term.text === button.dataset.v);
      button.setAttribute("aria-pressed", isOn);
    }
  };

  const remember = () => {
    const hash = search.value ? `#q=${encodeURIComponent(search.value)}` : location.pathname;
    try {
      history.replaceState(null, "", hash);
    } catch {
      // A page in a sandbox may not change its address.
    }
  };

  const change = (text) => {
    search.value = text;
    filter();
    remember();
  };

  const follow = () => {
    if (location.hash.startsWith("#q=")) {
      try {
        search.value = decodeURIComponent(location.hash.slice(3));
      } catch {
        return;
      }
      filter();
      return;
    }
    const target = /^#[a-z]+-?\d*$/.test(location.hash) && main.querySelector(location.hash);
    const finding = target && target.closest("details");
    if (!finding) return;
    finding.hidden = false;
    finding.open = true;
    target.scrollIntoView();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", () => {
    filter();
    remember();
  });
  clear.addEventListener("click", () => {
    change("");
    search.focus();
  });
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const term = `v:${button.dataset.v}`;
      const words = search.value.split(/\s+/).filter(Boolean);
      const rest = words.filter((word) => word !== term);
      change((rest.length < words.length ? rest : [...words, term]).join(" "));
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === search) {
      event.preventDefault();
      change("");
    }
    if (event.key !== "/" || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    search.focus();
  });
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  follow();
})();
