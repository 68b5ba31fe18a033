// A row for each rank: what it is doing, and the buttons that break it and bring it back.

const SIGNS = { ready: "●", running: "●", slow: "◐", paused: "‖", starting: "○", restarting: "○" };
const HEADS = {
  live: ["rank", "state", "step", "view", "term / leader", "heard", "memory", "GPU"],
  simulated: ["rank", "state", "role", "term / leader", "log"],
  finished: ["rank", "state", "step", "view", "knows"],
};
const ACTS = {
  live: ["kill", "pause", "slow", "cut off", "restart"],
  simulated: ["kill", "pause", "slow", "cut off", "restart"],
  finished: [],
};
const NOTEBOOK = { id: -1, name: "this notebook", witness: true };

class Table {
  constructor(model, tell) {
    this.mode = model.get("mode");
    this.lanes = this.mode === "finished" ? [...model.get("lanes"), NOTEBOOK] : model.get("lanes");
    this.names = HEADS[this.mode];
    this.rows = new Map();
    this.tell = tell;
    this.body = element("tbody");
    this.heads = this.names.map((head) => element("th", { scope: "col", "data-head": head }, head));
    const row = element("tr", {}, ...this.heads, element("th", { scope: "col" }, ""));
    this.element = element("table", { class: "ranks" }, element("thead", {}, row), this.body);
    for (const lane of this.lanes) this.add(lane);
  }

  add(lane) {
    const cells = Object.fromEntries(this.names.map((head) => [head, element("td", { "data-cell": head })]));
    cells.rank.textContent = lane.name;
    const act = (name) => () => this.tell({ kind: this.wish(lane.id, name), rank: lane.id });
    const make = (name) => button(name, `${name} ${lane.name}`, act(name), { "data-act": name });
    const buttons = Object.fromEntries(ACTS[this.mode].map((name) => [name, make(name)]));
    for (const name of ["slow", "cut off"]) { // it computes nothing; the others stay in their columns
      if (lane.witness && buttons[name]) buttons[name].style.visibility = "hidden";
    }
    const tools = element("td", { class: "tools" }, ...Object.values(buttons));
    const row = element("tr", { "data-rank": lane.id }, ...Object.values(cells), tools);
    this.body.append(row);
    this.rows.set(lane.id, { lane, row, cells, buttons, state: {} });
  }

  /** The button that undoes is the one that did. */
  wish(rank, name) {
    const { state, cut } = this.rows.get(rank);
    if (name === "pause" && state.state === "paused") return "resume";
    if (name === "slow" && state.slow) return "full speed";
    if (name === "cut off" && cut) return "heal";
    return name;
  }

  cuts(bands) {
    const cut = bands.filter((band) => band.end === null && band.label.startsWith("Partition"));
    for (const entry of this.rows.values()) {
      const alone = `((${entry.lane.id},),`;
      entry.cut = cut.some((band) => band.label.includes(alone));
      if (entry.buttons["cut off"]) this.press(entry, "cut off", entry.cut, "heal all");
    }
  }

  take(rows) {
    for (const state of rows) {
      const entry = this.rows.get(state.rank);
      if (!entry) continue;
      entry.state = state;
      this.show(entry, state);
    }
    const some = rows.some((state) => state.gpu);
    this.element.classList.toggle("no-gpu", !some);
  }

  texts(state) {
    const slow = state.slow && ["ready", "running"].includes(state.state);
    const doing = slow ? "slow" : state.state;
    const leads = state.leader === state.rank;
    const leader = this.lanes.find((lane) => lane.id === state.leader)?.witness ? "witness" : state.leader;
    return {
      state: `${SIGNS[doing] || "✕"} ${doing}`,
      step: state.step ?? "–",
      view: state.view ?? "–",
      role: state.role ?? "–",
      log: state.holds ?? "–",
      knows: state.knows,
      "term / leader": (state.term ?? null) === null ? "–" : `${state.term} / ${leads ? "★ itself" : leader ?? "?"}`,
      heard: (state.age ?? null) === null ? "–" : state.age < 0.5 ? "now" : `${state.age.toFixed(1)} s ago`,
      memory: (state.memory ?? null) === null ? "–" : `${state.memory} MB`,
      GPU: (state.gpu ?? null) === null ? "–" : `${state.gpu} MB`,
    };
  }

  show(entry, state) {
    const texts = this.texts(state);
    for (const head of this.names.slice(1)) {
      if (entry.cells[head].textContent !== String(texts[head])) entry.cells[head].textContent = texts[head];
    }
    entry.row.dataset.state = state.alive ? state.state : "dead";
    entry.row.dataset.life = state.life;
    entry.row.classList.toggle("late", (state.age ?? 0) >= 1);
    for (const name of ["kill", "pause", "slow", "cut off"]) {
      if (entry.buttons[name]) entry.buttons[name].disabled = !state.alive;
    }
    if (entry.buttons.pause) this.press(entry, "pause", state.state === "paused", "resume");
    if (entry.buttons.slow) this.press(entry, "slow", state.slow, "full speed");
  }

  press(entry, name, on, undo) {
    const knob = entry.buttons[name];
    const text = on ? undo : name;
    if (knob.textContent === text) return;
    knob.textContent = text;
    knob.title = `${text}${text === "heal all" ? "" : ` ${entry.lane.name}`}`;
    knob.setAttribute("aria-label", knob.title);
    knob.classList.toggle("on", on);
  }
}
