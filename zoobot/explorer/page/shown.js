// Which galaxies are shown, in which order, and which are selected.

const state = {
  order: [], // rows of the galaxies shown
  sort: -1, // a column; -1 the catalog's order, -2 the ids
  descending: true,
  search: "",
  ranges: new Map(), // column → [least, most]
  words: new Map(), // text → set of words
  among: null, // { rows, title }: these galaxies alone
  onlySelected: false,
  selected: new Set(),
  open: -1, // the row in the details
};

const listeners = []; // told whether other galaxies are shown; if not, others are selected

function isShown(row) {
  if (state.onlySelected && !state.selected.has(row)) return false;
  if (state.among && !state.among.rows.has(row)) return false;
  for (const [column, [least, most]] of state.ranges) {
    const value = valueOf(column, row);
    if (!(value >= least && value <= most)) return false; // nor what is unknown
  }
  for (const [text, chosen] of state.words) {
    if (!chosen.has(wordOf(page.texts[text], row))) return false;
  }
  return !state.search || page.ids[row].toLowerCase().includes(state.search);
}

const collator = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  const sign = state.descending ? -1 : 1;
  if (state.sort === -1) return state.descending ? b - a : a - b;
  if (state.sort === -2) return sign * collator.compare(page.ids[a], page.ids[b]) || a - b;
  const [first, second] = [valueOf(state.sort, a), valueOf(state.sort, b)];
  const unknown = Number.isNaN(first) - Number.isNaN(second); // these come last, either way
  return unknown || (Number.isNaN(first) ? 0 : sign * (first - second)) || a - b;
}

function update() {
  state.order = [];
  for (let row = 0; row < count; row++) if (isShown(row)) state.order.push(row);
  state.order.sort(compare);
  for (const listen of listeners) listen(true);
}

function select(rows, isSelected) {
  for (const row of rows) isSelected ? state.selected.add(row) : state.selected.delete(row);
  if (state.onlySelected) update();
  else for (const listen of listeners) listen(false);
}

function setRange(column, least, most) {
  if (least === -Infinity && most === Infinity) state.ranges.delete(column);
  else state.ranges.set(column, [least, most]);
  update();
}

function clearFilters() {
  state.ranges.clear();
  state.words.clear();
  state.among = null;
  state.onlySelected = false;
  state.search = find("search").value = "";
  update();
}
