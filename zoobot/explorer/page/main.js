// The page at work.

function makeOption(value, text) {
  const made = make("option", "", text);
  made.value = value;
  return made;
}

// Columns to choose from, in groups; those that are not listed too, if asked for.
function columnOptions(isAlso = () => false) {
  const groups = columnGroups();
  const listed = new Set(groups.flatMap((group) => group.numbers));
  const others = [...page.columns.keys()].filter((number) => !listed.has(number) && isAlso(number));
  if (others.length) groups.push({ title: "Labels", numbers: others });
  return groups.map((group) => {
    const titled = make("optgroup");
    titled.label = visible(group.title);
    titled.append(...group.numbers.map((number) => makeOption(number, visible(page.columns[number].title))));
    return titled;
  });
}

function sortBy(column, isDescending) {
  state.sort = column;
  state.descending = isDescending;
  grid.scrollTop = 0;
  update();
}

function showState() {
  const number = (value) => value.toLocaleString("en");
  const shown = state.order.length === count ? number(count) : `${number(state.order.length)} of ${number(count)}`;
  const chosen = state.selected.size ? `, ${number(state.selected.size)} selected` : "";
  find("status").textContent = `${shown} ${count === 1 ? "galaxy" : "galaxies"}${chosen}`;
  find("sort").value = state.sort;
  find("direction").textContent = state.descending ? "↓" : "↑";
  find("direction").ariaLabel = state.descending ? "Descending" : "Ascending";
  for (const id of ["download", "clear"]) find(id).disabled = !state.selected.size;
  find("only-selected").disabled = !state.selected.size && !state.onlySelected;
  find("only-selected").ariaPressed = String(state.onlySelected);
  find("select-shown").disabled = !state.order.length;
}

function showSelection() {
  const isSelected = state.selected.has(state.open);
  const toggled = find("toggle-open");
  if (!toggled) return;
  toggled.textContent = isSelected ? "Selected ✓" : "Select";
  toggled.ariaPressed = String(isSelected);
}

// The selection as a table.

const rounded = (value) => (Number.isNaN(value) ? null : Number(value.toPrecision(7)));

function download() {
  const head = ["id_str", ...page.texts.map((text) => text.name), ...page.columns.map((column) => column.name)];
  const rows = [...state.selected].sort(compare).map((row) => [
    page.ids[row],
    ...page.texts.map((text) => wordOf(text, row)),
    ...page.columns.map((column) => rounded(column.values[row])),
  ]);
  saveFile(csvText(head, rows), "selection.csv", "text/csv");
}

listeners.push(showState, showSelection, drawPlot, (isOther) => {
  if (!isOther) {
    for (const place of cards.keys()) markSelected(place);
    return;
  }
  redraw();
  drawChips();
  for (const show of refresh) show();
});
state.descending = false;

find("title").textContent = visible(page.title);
find("search").addEventListener("input", (event) => {
  state.search = event.target.value.trim().toLowerCase();
  update();
});
find("sort").addEventListener("change", (event) => sortBy(Number(event.target.value), Number(event.target.value) >= 0));
find("direction").addEventListener("click", () => sortBy(state.sort, !state.descending));
find("size").addEventListener("input", (event) => {
  layout.least = Number(event.target.value);
  redraw();
});
find("theme").addEventListener("click", () => {
  switchTheme();
  drawPlot();
});
find("plot-toggle").addEventListener("click", switchPlot);
find("filters-toggle").addEventListener("click", () => {
  const isOpen = document.body.classList.toggle("has-filters");
  find("filters-toggle").ariaExpanded = String(isOpen);
});
find("select-shown").addEventListener("click", () => select(state.order, true));
find("clear").addEventListener("click", () => select([...state.selected], false));
find("only-selected").addEventListener("click", () => {
  state.onlySelected = !state.onlySelected;
  update();
});
find("download").addEventListener("click", download);
find("reset").addEventListener("click", clearFilters);
grid.addEventListener("scroll", drawCards, { passive: true });
grid.addEventListener("keydown", pressed);
grid.addEventListener("click", clicked);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeDetails();
});
new ResizeObserver(() => {
  redraw();
  drawPlot();
}).observe(grid);

find("sort").append(makeOption(-1, "Order of the table"), makeOption(-2, "Id"), ...columnOptions());
chooseAxes();
drawFacets();
update();
