// The page at work: one galaxy, what is asked of it, and the keys, buttons and swipes that answer.

const KEYS = [..."123456789abcdefghijklmopqrtvwxyz"]; // of the answers; s, u and n are taken
const SWIPE = 48;
const here = { row: 0, question: null, said: "", start: null };
const keysOf = (question) => (asking.kind === "rating" ? asking.values : KEYS.slice(0, asking.questions[question].answers.length));

// The question that somebody went back to, or the next one; of a single question always that one.
function questionNow() {
  if (!isTree) return 0;
  return here.question ?? nextQuestion(answersOf(here.row));
}

function goTo(row) {
  here.row = Math.min(Math.max(row, 0), count - 1);
  here.question = null;
  draw();
}

const STANDS = ["not labelled", "begun", "labelled", "unsure"];

function move(row) {
  goTo(row);
  find("said").textContent = here.said = `${nameOf(here.row).slice(0, 100)}: ${STANDS[labels.stands[here.row]]}`;
}

function act(action) {
  labels.actions.push(action);
  apply(action);
  keep();
}

function choose(answer) {
  const question = questionNow();
  if (question < 0) return;
  const { row } = here;
  act([row, question, answer]);
  here.question = null;
  const title = answer === UNSURE ? "unsure" : asking.questions[question].answers[answer];
  here.said = `${isTree ? visible(asking.questions[question].title) : nameOf(row).slice(0, 100)}: ${visible(title)}`;
  if (isDone(row)) {
    const left = nextLeft(row);
    if (left >= 0) here.row = left;
  }
  draw();
}

function undo() {
  if (!labels.actions.length) return;
  const action = takeBack();
  keep();
  here.said = action.length > 3 ? "Undone: the file that was read" : `Undone: ${nameOf(action[0]).slice(0, 100)}`;
  goTo(action[0]);
}

function goToLeft() {
  const left = nextLeft(here.row);
  if (left >= 0) move(left);
}

function drawChoices(question) {
  const choices = find("choices");
  const focused = choices.contains(document.activeElement) ? [...choices.children].indexOf(document.activeElement) : -1;
  const isSame = choices.dataset.question === String(question);
  choices.dataset.question = question;
  choices.classList.toggle("short", asking.kind === "rating");
  const keys = question < 0 ? [] : keysOf(question);
  const chosen = answersOf(here.row).get(question);
  const made = question < 0 ? [] : asking.questions[question].answers.map((title, answer) => {
    const one = button("", "", () => choose(answer));
    if (asking.kind !== "rating") one.append(make("kbd", "", keys[answer].toUpperCase())); // there it is the answer
    one.append(make("span", "", visible(title)));
    one.setAttribute("aria-keyshortcuts", keys[answer].toUpperCase());
    one.setAttribute("aria-pressed", String(chosen === answer));
    return one;
  });
  choices.replaceChildren(...made);
  find("unsure").hidden = question < 0;
  find("unsure").ariaPressed = String(chosen === UNSURE);
  if (focused >= 0) (isSame ? made[focused] : find("question")).focus();
}

// The answers of a tree so far, each of which can be given anew.
function drawGiven(now) {
  const lines = [];
  for (const [question, answer] of isTree ? [...answersOf(here.row)].sort(([a], [b]) => a - b) : []) {
    const { title, answers } = asking.questions[question];
    const words = `${visible(title)}: ${answer === UNSURE ? "unsure" : visible(answers[answer])}`;
    const again = button(words, `${words}. Answer anew`, () => {
      here.question = question;
      draw();
      find("question").focus();
    });
    again.setAttribute("aria-current", String(question === now));
    const line = make("li");
    line.append(again);
    lines.push(line);
  }
  find("given").replaceChildren(...lines);
}

function drawMore() {
  const made = [...drawSkyLinks(here.row)];
  if (page.charts.length) made.push(make("h3", "", "What the model expects"), drawLegend(), drawTree(here.row));
  const facts = drawFacts(here.row);
  if (facts.children.length) made.push(facts);
  find("more").replaceChildren(...made);
}

function drawTotals() {
  const number = (value) => value.toLocaleString("en");
  const [untouched, begun, labelled, skipped] = totals();
  const words = [`${number(labelled)} of ${number(count)} labelled`];
  if (skipped) words.push(`${number(skipped)} unsure`);
  words.push(untouched + begun ? `${number(untouched + begun)} left` : "nothing is left");
  if (begun) words.push(`${number(begun)} of them begun`);
  find("status").textContent = words.join(", ");
  find("progress").max = count;
  find("progress").value = labelled + skipped;
  find("progress").textContent = words.join(", ");
  find("undo").disabled = !labels.actions.length;
  find("left").disabled = !(untouched + begun);
  for (const id of ["csv", "json"]) find(id).disabled = !labelled;
  find("csv").classList.toggle("main", isUnsaved());
  find("problem").hidden = !kept.problem;
  find("problem").textContent = kept.problem;
  return untouched + begun;
}

const HEADINGS = { classes: "Which class is it?", rating: "How interesting is it?" };

function draw() {
  const left = drawTotals();
  const now = questionNow();
  const shown = picture(here.row);
  if (shown.alt === "") shown.alt = "The galaxy";
  find("frame").replaceChildren(shown);
  find("name").textContent = nameOf(here.row);
  find("place").value = here.row + 1;
  find("previous").disabled = here.row === 0;
  find("next").disabled = here.row === count - 1;
  const asked = now < 0 ? "All its questions are answered" : visible(asking.questions[now].title);
  find("question").textContent = HEADINGS[asking.kind] ?? asked;
  drawChoices(now);
  drawGiven(now);
  drawMore();
  find("said").textContent = left ? here.said : `${here.said}. All galaxies are done: download the labels.`.replace(/^\. /, "");
}

function download(makeText, ending, type) {
  saveFile(makeText(), ending, type);
  labels.downloaded = labels.actions.length;
  keep();
  draw();
}

async function readFile(file) {
  const galaxies = (number) => `${number.toLocaleString("en")} ${number === 1 ? "galaxy" : "galaxies"}`;
  try {
    const found = readLabels(await file.text());
    if (found.action.length) act(found.action);
    here.said = `Read answers of ${galaxies(found.read)}`;
    if (found.replaced) here.said += `; ${galaxies(found.replaced)} had others before`;
    if (found.unknown) here.said += `; ${galaxies(found.unknown)} of the file are not on this page`;
    goTo(isDone(here.row) ? Math.max(nextLeft(here.row), 0) : here.row);
  } catch (error) {
    here.said = `${visible(file.name)} can't be read: ${error.message}`;
    draw();
  }
}

// The key in the Latin letters of its name, and a digit also where a keyboard has it under Shift.
function keyOf({ key, code }) {
  const digit = /^Digit(\d)$/.exec(code);
  if (digit) return digit[1];
  return (key.length === 1 && key > "~" ? code.replace("Key", "") : key).toLowerCase();
}

function pressed(event) {
  const isTyping = event.target.matches("input, select, textarea");
  const key = keyOf(event);
  const isUndo = key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey;
  if (isTyping || event.isComposing || (!isUndo && (event.ctrlKey || event.metaKey || event.altKey))) return;
  const moves = { arrowleft: () => move(here.row - 1), arrowright: () => move(here.row + 1) };
  const deeds = { s: () => choose(UNSURE), u: undo, n: goToLeft };
  const question = questionNow();
  const answer = isUndo || question < 0 ? -1 : keysOf(question).indexOf(key);
  if (key in moves) moves[key]();
  else if (event.repeat) {
    if (key !== "enter" && key !== " ") return; // a key held down moves, and answers nothing more
  } else if (isUndo) undo();
  else if (answer >= 0) choose(answer);
  else if (key in deeds) deeds[key]();
  else return;
  event.preventDefault();
}

function swiped(event) {
  if (!here.start) return;
  const [across, down] = [event.clientX - here.start[0], event.clientY - here.start[1]];
  here.start = null;
  if (Math.abs(across) >= SWIPE && Math.abs(across) > 2 * Math.abs(down)) move(here.row + (across < 0 ? 1 : -1));
}

find("title").textContent = visible(page.title);
find("of").textContent = `of ${count.toLocaleString("en")}`;
find("place").max = count;
find("place").addEventListener("change", (event) => move(Math.round(Number(event.target.value) || 1) - 1));
find("previous").addEventListener("click", () => move(here.row - 1));
find("next").addEventListener("click", () => move(here.row + 1));
find("left").addEventListener("click", goToLeft);
find("unsure").addEventListener("click", () => choose(UNSURE));
find("undo").addEventListener("click", undo);
find("csv").addEventListener("click", () => download(labelsAsCsv, "labels.csv", "text/csv"));
find("json").addEventListener("click", () => download(labelsAsJson, "labels.json", "application/json"));
find("read").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", async ({ target }) => {
  if (target.files.length) await readFile(target.files[0]);
  target.value = ""; // the same file can be read again
});
find("theme").addEventListener("click", switchTheme);
find("frame").addEventListener("pointerdown", (event) => {
  here.start = event.isPrimary ? [event.clientX, event.clientY] : null;
});
find("frame").addEventListener("pointerup", swiped);
find("frame").addEventListener("pointercancel", () => (here.start = null));
document.addEventListener("keydown", pressed);
addEventListener("storage", (event) => {
  if (event.key !== asking.key) return;
  recall(); // another tab of this page answered
  draw();
});
addEventListener("beforeunload", (event) => {
  if (!isUnsaved()) return;
  event.preventDefault();
  event.returnValue = true; // for older browsers
});

recall();
if (isDone(0)) here.row = Math.max(nextLeft(0), 0);
draw();
