// Two numbers of the galaxies shown against each other: click a point to open it, drag to filter.

const points = find("points");
const axes = { x: -1, y: -1, isOn: false, start: null, box: null };
const MARGIN = { left: 56, right: 16, top: 16, bottom: 46 };
const NEAR = 14;
const TICKS = 5;

// The first prediction against its label, if there is one, or its rank, of two classes, which add up to 1; else
// the first two numbers.
function chooseAxes() {
  const bars = page.charts.flatMap((chart) => chart.bars);
  const labelled = bars.find((bar) => bar.label !== null);
  const listed = columnGroups().flatMap((group) => group.numbers);
  const rank = listed.find((number) => page.columns[number].name === "predicted_rank");
  axes.x = labelled ? labelled.label : (rank ?? listed[0]);
  axes.y = labelled ? labelled.value : (rank === undefined ? (listed[1] ?? listed[0]) : listed[0]);
  for (const end of ["x", "y"]) {
    const chosen = find(`plot-${end}`);
    chosen.append(...columnOptions((number) => page.columns[number].title !== ""));
    chosen.value = axes[end];
    chosen.addEventListener("change", () => {
      axes[end] = Number(chosen.value);
      drawPlot();
    });
  }
}

function frame() {
  const { clientWidth: width, clientHeight: height } = points;
  const ranges = { x: rangeOf(page.columns[axes.x]), y: rangeOf(page.columns[axes.y]) };
  const inside = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  const share = (end, value) => (value - ranges[end][0]) / (ranges[end][1] - ranges[end][0] || 1);
  return {
    width,
    height,
    ranges,
    toX: (value) => MARGIN.left + inside.width * share("x", value),
    toY: (value) => MARGIN.top + inside.height * (1 - share("y", value)),
    fromX: (place) => ranges.x[0] + ((place - MARGIN.left) / inside.width) * (ranges.x[1] - ranges.x[0]),
    fromY: (place) => ranges.y[1] - ((place - MARGIN.top) / inside.height) * (ranges.y[1] - ranges.y[0]),
  };
}

// Round numbers within a range, some five of them.
function ticksOf([low, high]) {
  const rough = (high - low || 1) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let number = Math.ceil(low / step); number * step <= high; number++) ticks.push(number * step);
  return ticks;
}

function drawLine(pen, from, to, strength) {
  pen.globalAlpha = strength;
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  pen.globalAlpha = 1;
}

function drawAxes(pen, { width, height, ranges, toX, toY }, colours) {
  pen.strokeStyle = pen.fillStyle = colours.borderTopColor;
  pen.font = getComputedStyle(points).font;
  pen.textAlign = "center";
  for (const value of ticksOf(ranges.x)) {
    pen.fillText(written(value, page.columns[axes.x]), toX(value), height - MARGIN.bottom + 18);
    drawLine(pen, [toX(value), MARGIN.top], [toX(value), height - MARGIN.bottom], 0.2);
  }
  pen.textAlign = "right";
  for (const value of ticksOf(ranges.y)) {
    pen.fillText(written(value, page.columns[axes.y]), MARGIN.left - 8, toY(value) + 4);
    drawLine(pen, [MARGIN.left, toY(value)], [width - MARGIN.right, toY(value)], 0.2);
  }
  const isCompared = page.charts.some((chart) =>
    chart.bars.some((bar) => bar.label === axes.x && bar.value === axes.y),
  );
  if (!isCompared) return;
  const low = Math.max(ranges.x[0], ranges.y[0]);
  const high = Math.min(ranges.x[1], ranges.y[1]);
  drawLine(pen, [toX(low), toY(low)], [toX(high), toY(high)], 1);
}

function drawPlot() {
  if (!axes.isOn) return;
  const scale = window.devicePixelRatio;
  const place = frame();
  points.width = place.width * scale;
  points.height = place.height * scale;
  const pen = points.getContext("2d");
  pen.scale(scale, scale);
  const colours = getComputedStyle(points);
  drawAxes(pen, place, colours);
  for (const row of state.order) {
    const isChosen = state.selected.has(row) || row === state.open;
    pen.globalAlpha = isChosen ? 1 : 0.5;
    pen.fillStyle = isChosen ? colours.borderBottomColor : colours.color;
    pen.beginPath();
    pen.arc(place.toX(valueOf(axes.x, row)), place.toY(valueOf(axes.y, row)), isChosen ? 5 : 3, 0, 7);
    pen.fill(); // nothing where a number is unknown
  }
  if (!axes.box) return;
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.borderBottomColor;
  pen.strokeRect(...axes.box);
}

function nearestPoint(left, top) {
  const place = frame();
  let [best, least] = [-1, NEAR];
  for (const row of state.order) {
    const far = Math.hypot(place.toX(valueOf(axes.x, row)) - left, place.toY(valueOf(axes.y, row)) - top);
    if (far < least) [best, least] = [row, far];
  }
  return best;
}

function released(event) {
  if (!axes.start) return;
  const [left, top] = axes.start;
  const [right, bottom] = [event.offsetX, event.offsetY];
  axes.start = axes.box = null;
  if (Math.hypot(right - left, bottom - top) < 5) {
    const row = nearestPoint(right, bottom);
    if (row >= 0) openDetails(row);
    drawPlot();
    return;
  }
  const place = frame();
  const ascending = (a, b) => [Math.min(a, b), Math.max(a, b)];
  setRange(axes.x, ...ascending(place.fromX(left), place.fromX(right)));
  setRange(axes.y, ...ascending(place.fromY(top), place.fromY(bottom)));
}

function switchPlot() {
  axes.isOn = !axes.isOn;
  find("plot").hidden = !axes.isOn;
  grid.inert = axes.isOn;
  find("plot-toggle").ariaPressed = String(axes.isOn);
  drawPlot();
}

points.addEventListener("pointerdown", (event) => {
  points.setPointerCapture(event.pointerId);
  axes.start = [event.offsetX, event.offsetY];
});
points.addEventListener("pointermove", (event) => {
  if (!axes.start) return;
  axes.box = [...axes.start, event.offsetX - axes.start[0], event.offsetY - axes.start[1]];
  drawPlot();
});
points.addEventListener("pointerup", released);
points.addEventListener("pointercancel", () => {
  axes.start = axes.box = null;
  drawPlot();
});
