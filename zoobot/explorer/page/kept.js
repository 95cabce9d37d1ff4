// The labels in this browser: they outlive a reload, and other tabs of this page take part in them.

const kept = { problem: "" };

function keep() {
  try {
    localStorage.setItem(asking.key, JSON.stringify({ actions: labels.actions, downloaded: labels.downloaded }));
    kept.problem = "";
  } catch (error) {
    const reason = error.name === "QuotaExceededError" ? "its storage is full" : "it lets this page store nothing";
    kept.problem = `This browser does not keep the labels (${reason}): download them before you leave.`;
  }
}

function isAction(action) {
  if (!Array.isArray(action) || !action.length || action.length % 3 || !action.every(Number.isInteger)) return false;
  for (let place = 0; place < action.length; place += 3) {
    const [row, question, answer] = action.slice(place, place + 3);
    if (row < 0 || row >= count || question < ANEW || question >= asking.questions.length || answer < UNSURE) return false;
    if (question !== ANEW && answer >= asking.questions[question].answers.length) return false;
  }
  return true;
}

function recall() {
  let text = null;
  try {
    text = localStorage.getItem(asking.key);
  } catch {
    kept.problem = "This browser lets this page store nothing: download the labels before you leave.";
  }
  let content = { actions: [], downloaded: 0 };
  if (text !== null) {
    try {
      content = JSON.parse(text);
    } catch {
      content = null;
    }
  }
  if (!Array.isArray(content?.actions) || !content.actions.every(isAction) || !Number.isInteger(content.downloaded)) {
    kept.problem = "What this browser kept of this page is damaged: the labels start anew.";
    return;
  }
  Object.assign(labels, content);
  applyAll();
}
