// One galaxy: its picture, the tree of what is expected of it, what is known of it, and its look-alikes.

const details = find("details");

function openDetails(row, isFocused = false) {
  state.open = row;
  details.hidden = false;
  document.body.classList.add("has-details");
  details.replaceChildren(drawHead(row), picture(row), ...drawReason(row), ...drawSkyLinks(row), ...drawNeighbours(row), drawLegend(), drawTree(row), drawFacts(row));
  details.scrollTop = 0;
  drawPlot();
  for (const place of cards.keys()) markSelected(place);
  if (isFocused) details.focus();
}

function closeDetails() {
  if (details.hidden) return;
  state.open = -1;
  details.hidden = true;
  document.body.classList.remove("has-details");
  for (const place of cards.keys()) markSelected(place);
  grid.focus();
}

function drawHead(row) {
  const head = make("div", "head");
  const isSelected = state.selected.has(row);
  const toggled = button(isSelected ? "Selected ✓" : "Select", "", () => select([row], !state.selected.has(row)));
  toggled.id = "toggle-open";
  toggled.setAttribute("aria-pressed", String(isSelected));
  head.append(make("h2", "", nameOf(row)), toggled, button("✕", "Close", closeDetails));
  return head;
}

function drawReason(row) {
  const reason = page.pictures[row] ? "" : wordOf(page.reasons, row);
  return reason ? [make("p", "reason", visible(reason))] : [];
}

function nearest(row) {
  const { count: most, rows, similarities } = page.neighbours;
  const near = [];
  for (let place = row * most; place < (row + 1) * most; place++) {
    if (rows[place] >= 0) near.push({ row: rows[place], similarity: similarities[place] });
  }
  return near;
}

function drawNeighbours(row) {
  if (!page.neighbours) return [];
  const near = nearest(row);
  if (!near.length) return [make("h3", "", "Most alike"), make("p", "", "no features of this galaxy")];
  const heading = make("h3", "", "Most alike");
  heading.append(button("show these", `Show only the galaxies most like ${nameOf(row)}`, () => showNeighbours(row, near)));
  const list = make("ul", "neighbours");
  for (const one of near) {
    const line = make("li");
    const words = `${nameOf(one.row)}, similarity ${written(one.similarity, {})}`;
    const opened = button("", words, () => openDetails(one.row, true));
    opened.title = words;
    opened.append(picture(one.row));
    line.append(opened);
    list.append(line);
  }
  return [heading, list];
}

function showNeighbours(row, near) {
  const rows = new Set([row, ...near.map((one) => one.row)]);
  state.among = { rows, title: `most like ${nameOf(row).slice(0, 40)}` };
  update();
}
