// What was answered: a list of actions, from which all else follows. Nothing here touches the page's elements.
//
// An action is numbers by threes: row, question, answer. A person answers one question at a time; a file that
// is read is one action for all its galaxies.

const asking = page.annotation;
const UNSURE = -1; // an answer: nobody is counted
const ANEW = -1; // a question: forget the galaxy's answers
const [UNTOUCHED, BEGUN, LABELLED, SKIPPED] = [0, 1, 2, 3];

for (const place of asking.places) place.codes = unpack(place.codes, Int32Array);

const labels = {
  actions: [],
  downloaded: 0, // how many actions the last file holds; −1 if some of them were undone since
  given: new Map(), // row → question → answer
  stands: new Uint8Array(count), // where each galaxy stands
};

const isTree = asking.kind === "tree";
const rowOfId = new Map(page.ids.map((id, row) => [id, row]));
const firstValue = []; // of each question among the values
for (const question of asking.questions) {
  firstValue.push(firstValue.length ? firstValue.at(-1) + asking.questions[firstValue.length - 1].answers.length : 0);
}

function isReached(question, given) {
  const { parents } = asking.questions[question];
  return !parents.length || parents.some(([above, answer]) => given.get(above) === answer);
}

// The first question that is asked of the galaxy and has no answer yet; −1 if there is none.
const nextQuestion = (given) => asking.questions.findIndex((_, number) => !given.has(number) && isReached(number, given));

// Answers to questions that are no longer asked, since the ones before them were changed, are forgotten.
function forgetUnreached(given) {
  for (let number = 0; number < asking.questions.length; number++) {
    if (!given.has(number) || isReached(number, given)) continue;
    given.delete(number);
    number = -1; // questions may stand before those that lead to them
  }
}

function standOf(given) {
  if (!given.size) return UNTOUCHED;
  if (nextQuestion(given) >= 0) return BEGUN;
  return [...given.values()].some((answer) => answer !== UNSURE) ? LABELLED : SKIPPED;
}

function apply(action) {
  const rows = new Set();
  for (let place = 0; place < action.length; place += 3) {
    const [row, question, answer] = action.slice(place, place + 3);
    rows.add(row);
    if (question === ANEW) {
      labels.given.delete(row);
      continue;
    }
    if (!labels.given.has(row)) labels.given.set(row, new Map());
    labels.given.get(row).set(question, answer);
    forgetUnreached(labels.given.get(row));
  }
  for (const row of rows) labels.stands[row] = standOf(labels.given.get(row) ?? new Map());
}

function applyAll() {
  labels.given.clear();
  labels.stands.fill(UNTOUCHED);
  for (const action of labels.actions) apply(action);
}

function takeBack() {
  const action = labels.actions.pop();
  if (labels.downloaded > labels.actions.length) labels.downloaded = -1;
  applyAll();
  return action;
}

const isDone = (row) => labels.stands[row] >= LABELLED;
const answersOf = (row) => labels.given.get(row) ?? new Map();
const isUnsaved = () => labels.actions.length > 0 && labels.downloaded !== labels.actions.length;

function totals() {
  const total = [0, 0, 0, 0];
  for (const stand of labels.stands) total[stand]++;
  return total;
}

// The next galaxy that is not done, from here on and round; −1 if all are.
function nextLeft(row) {
  for (let step = 1; step <= count; step++) {
    const other = (row + step) % count;
    if (!isDone(other)) return other;
  }
  return -1;
}

// The labels as a table, a row for each galaxy that has some; of a tree, one vote for each answer.

const headOf = () => [
  "id_str",
  ...asking.places.map((place) => place.name),
  ...(page.sky ? ["ra", "dec"] : []),
  ...(isTree ? asking.values : [asking.column]),
];

function valuesOf(row) {
  const given = answersOf(row);
  if (!isTree) {
    const value = asking.values[given.get(0)];
    return [asking.kind === "rating" ? Number(value) : value];
  }
  const votes = asking.values.map(() => 0);
  for (const [question, answer] of given) if (answer !== UNSURE) votes[firstValue[question] + answer] = 1;
  return votes;
}

function tableOf() {
  const rows = [];
  for (let row = 0; row < count; row++) {
    if (labels.stands[row] !== LABELLED) continue;
    const places = asking.places.map((place) => wordOf(place, row));
    const sky = !page.sky ? [] : hasPlace(row) ? [page.sky.ra[row], page.sky.dec[row]] : [null, null];
    rows.push([page.ids[row], ...places, ...sky, ...valuesOf(row)]);
  }
  return rows;
}

const labelsAsCsv = () => csvText(headOf(), tableOf());

function labelsAsJson() {
  const head = headOf();
  const data = tableOf().map((cells) => Object.fromEntries(cells.map((value, place) => [head[place], value])));
  const unsure = page.ids.filter((_, row) => labels.stands[row] === SKIPPED);
  return JSON.stringify({ labels: asking.kind, unsure, data }, null, 1);
}

// Such a file read again: one action, and what is to be said of it. An Error says why it can't be used.

function readLabels(text) {
  const { rows, unsure } = text.trimStart().startsWith("{") || text.trimStart().startsWith("[") ? fromJson(text) : fromCsv(text);
  const found = { action: [], read: 0, replaced: 0, unknown: 0 };
  const note = (id, answers) => {
    const row = rowOfId.get(String(id));
    if (row === undefined) found.unknown++;
    else {
      found.read++;
      if (labels.stands[row] !== UNTOUCHED) found.replaced++;
      found.action.push(row, ANEW, 0, ...answers.flatMap(([question, answer]) => [row, question, answer]));
    }
  };
  for (const cells of rows) {
    if (cells.id_str === undefined) throw new Error("it has no column id_str");
    const answers = isTree ? answersFromVotes(cells) : answerFromValue(cells);
    if (answers.length) note(cells.id_str, answers);
  }
  for (const id of unsure) note(id, walk(() => UNSURE));
  return found;
}

function fromJson(text) {
  const content = JSON.parse(text);
  const rows = Array.isArray(content) ? content : content.data;
  const isTable = Array.isArray(rows) && rows.every((row) => typeof row === "object" && row !== null);
  if (!isTable) throw new Error("it is no list of galaxies");
  return { rows, unsure: Array.isArray(content.unsure) ? content.unsure : [] };
}

function fromCsv(text) {
  const [head, ...lines] = readCsv(text);
  if (!head) throw new Error("it is empty");
  return { rows: lines.map((cells) => Object.fromEntries(head.map((name, place) => [name, cells[place] ?? ""]))), unsure: [] };
}

const quoted = (cell) => JSON.stringify(String(cell).slice(0, 60));
const isEmpty = (cell) => cell === null || String(cell).trim() === ""; // else blanks are the number 0

function answerFromValue(cells) {
  const cell = cells[asking.column];
  if (cell === undefined) throw new Error(`it has no column ${asking.column}`);
  if (isEmpty(cell)) return [];
  const isSame = asking.kind === "rating" ? (value) => Number(value) === Number(String(cell)) : (value) => value === String(cell);
  const answer = asking.values.findIndex(isSame);
  if (answer < 0) throw new Error(`${quoted(cells.id_str)} is ${quoted(cell)}, which is no answer here`);
  return [[0, answer]];
}

// The questions as they are asked, each answered by a function.
function walk(answerTo) {
  const given = new Map();
  for (let question = nextQuestion(given); question >= 0; question = nextQuestion(given)) given.set(question, answerTo(question));
  return [...given];
}

function answersFromVotes(cells) {
  const absent = asking.values.find((name) => cells[name] === undefined);
  if (absent !== undefined) throw new Error(`it has no column ${absent}`);
  const votes = asking.values.map((name) => (isEmpty(cells[name]) ? 0 : Number(cells[name])));
  if (!votes.some((vote) => vote !== 0)) return [];
  const chosen = asking.questions.map(({ answers }, question) => {
    const own = votes.slice(firstValue[question], firstValue[question] + answers.length);
    const isOne = own.every((vote) => vote === 0 || vote === 1) && own.filter(Boolean).length <= 1;
    if (!isOne) throw new Error(`${quoted(cells.id_str)} has other votes than those of one person`);
    return own.indexOf(1);
  });
  const answers = walk((question) => chosen[question]);
  const isWhole = chosen.filter((answer) => answer >= 0).length === answers.filter(([, answer]) => answer >= 0).length;
  if (!isWhole) throw new Error(`${quoted(cells.id_str)} answers a question to which its other answers do not lead`);
  return answers;
}
