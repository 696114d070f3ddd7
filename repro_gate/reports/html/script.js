"use strict";
(() => {
  const texts = new Map();
  const textOf = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  for (const bar of document.querySelectorAll("form.filter")) {
    const search = bar.querySelector("input[type=search]");
    const count = bar.querySelector("output");
    const blocks = [...bar.closest("section").querySelectorAll(".block")].map((block) => ({
      block,
      rows: [...block.querySelectorAll("tbody tr")],
    }));
    const total = blocks.reduce((sum, each) => sum + each.rows.length, 0);
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const boxes = [...bar.querySelectorAll("input[type=checkbox]")];
      const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
      let shown = 0;
      for (const { block, rows } of blocks) {
        let hits = 0;
        for (const row of rows) {
          const isHit =
            (!boxes.length || kinds.has(row.dataset.kind)) &&
            words.every((word) => textOf(row).includes(word));
          row.hidden = !isHit;
          hits += isHit;
        }
        block.hidden = !hits;
        shown += hits;
      }
      count.textContent = `${shown} of ${total}`;
    };
    bar.hidden = false;
    bar.addEventListener("submit", (event) => event.preventDefault());
    bar.addEventListener("input", filter);
  }
  document.addEventListener("keydown", (event) => {
    const search = document.querySelector("form.filter input[type=search]");
    if (event.key !== "/" || !search || /^(input|textarea|select)$/i.test(event.target.tagName)) return;
    event.preventDefault();
    search.focus();
  });
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
})();
