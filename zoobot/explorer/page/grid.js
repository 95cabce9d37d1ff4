// The galaxies shown, as cards. Only those in sight are in the document, however many there are.

const grid = find("grid");
const cards = new Map(); // place among the galaxies shown → its card
const GAP = 10;
const LINE = 25;
const ROWS_AHEAD = 2; // drawn before they come in sight,
const CARDS_AHEAD = 3; // so many of them in a frame, so that none takes long
const layout = { columns: 1, width: 0, height: 0, least: 172, hasLines: true };
const active = { place: 0, anchor: 0, waiting: 0 };

function measure() {
  const room = grid.clientWidth - GAP;
  layout.columns = Math.max(1, Math.floor(room / (Math.min(layout.least, room) + GAP)));
  layout.width = Math.floor(room / layout.columns) - GAP;
  layout.hasLines = layout.width >= 130;
  layout.height = layout.width + (layout.hasLines ? 32 + CARD_LINES * LINE : 0);
}

function redraw() {
  for (const card of cards.values()) card.remove();
  cards.clear();
  measure();
  const rows = Math.ceil(state.order.length / layout.columns);
  find("cards").style.height = `${rows * (layout.height + GAP) + GAP}px`;
  active.place = Math.max(0, Math.min(active.place, state.order.length - 1));
  find("nothing").hidden = state.order.length > 0;
  drawCards();
}

function drawCards() {
  const step = layout.height + GAP;
  const top = Math.floor(grid.scrollTop / step);
  const below = Math.ceil((grid.scrollTop + grid.clientHeight) / step);
  const placeOfRow = (row) => Math.min(Math.max(row * layout.columns, 0), state.order.length);
  const [first, last] = [placeOfRow(top - ROWS_AHEAD), placeOfRow(below + ROWS_AHEAD)];
  const [inSight, outOfSight] = [placeOfRow(top), placeOfRow(below)];
  for (const [place, card] of cards) {
    if (place >= first && place < last) continue;
    card.remove();
    cards.delete(place);
  }
  const made = document.createDocumentFragment();
  let spare = CARDS_AHEAD;
  for (let place = first; place < last; place++) {
    if (cards.has(place)) continue;
    const isInSight = place >= inSight && place < outOfSight;
    if (isInSight || spare-- > 0) made.append(drawCard(place));
  }
  find("cards").append(made);
  markActive();
  cancelAnimationFrame(active.waiting);
  if (spare < 0) active.waiting = requestAnimationFrame(drawCards);
}

function drawCard(place) {
  const row = state.order[place];
  const card = make("div", "card");
  card.id = `galaxy-${row}`;
  card.role = "option";
  card.ariaPosInSet = place + 1;
  card.ariaSetSize = state.order.length;
  card.dataset.place = place;
  const leads = cardBars(row).slice(0, CARD_LINES);
  const said = leads.map(([chart, bar]) => {
    const column = page.columns[bar.value];
    return `${titleOf(chart, bar)} ${written(column.values[row], column)}`;
  });
  card.ariaLabel = [nameOf(row).slice(0, 100), ...said.map(visible)].join(", ");
  const left = GAP + (place % layout.columns) * (layout.width + GAP);
  const top = GAP + Math.floor(place / layout.columns) * (layout.height + GAP);
  card.style.transform = `translate(${left}px, ${top}px)`;
  card.style.width = `${layout.width}px`;
  card.style.height = `${layout.height}px`;
  const tick = make("span", "tick", "✓");
  tick.title = "Select";
  card.append(picture(row), tick);
  if (layout.hasLines) card.append(make("div", "name", nameOf(row).slice(0, 200)), drawCardLines(row));
  cards.set(place, card);
  markSelected(place);
  return card;
}

function markSelected(place) {
  const row = state.order[place];
  const card = cards.get(place);
  card.ariaSelected = String(state.selected.has(row));
  card.classList.toggle("open", row === state.open);
}

function markActive() {
  for (const [place, card] of cards) card.classList.toggle("active", place === active.place);
  const card = cards.get(active.place);
  if (card) grid.setAttribute("aria-activedescendant", card.id);
  else grid.removeAttribute("aria-activedescendant");
}

function goTo(place) {
  active.place = Math.max(0, Math.min(place, state.order.length - 1));
  const step = layout.height + GAP;
  const top = Math.floor(active.place / layout.columns) * step;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + step + GAP > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + step + GAP - grid.clientHeight;
  drawCards();
  if (state.open >= 0 && state.order.length) openDetails(state.order[active.place]);
}

function toggle(place) {
  const row = state.order[place];
  if (row !== undefined) select([row], !state.selected.has(row));
}

function pressed(event) {
  const perPage = Math.max(1, Math.floor(grid.clientHeight / (layout.height + GAP))) * layout.columns;
  const moves = {
    ArrowRight: 1, ArrowLeft: -1, ArrowDown: layout.columns, ArrowUp: -layout.columns,
    PageDown: perPage, PageUp: -perPage, Home: -Infinity, End: Infinity,
  };
  if (event.key in moves) goTo(active.place + moves[event.key]);
  else if (event.key === "Enter" && state.order.length) openDetails(state.order[active.place], true);
  else if (event.key === " ") toggle(active.place);
  else if (event.key === "a" && (event.ctrlKey || event.metaKey)) select(state.order, true);
  else return;
  event.preventDefault();
}

function clicked(event) {
  const card = event.target.closest(".card");
  if (!card) return;
  const place = Number(card.dataset.place);
  if (event.shiftKey) {
    const [from, to] = [active.anchor, place].sort((a, b) => a - b);
    select(state.order.slice(from, to + 1), true);
  } else {
    active.anchor = place;
    const isTick = event.target.classList.contains("tick") || event.ctrlKey || event.metaKey;
    if (isTick) toggle(place);
    else openDetails(state.order[place]);
  }
  active.place = place;
  markActive();
}
