// Everything around the table and the diagram: faults for all, the legend, the clicks as code.

class Knobs {
  constructor(model, tell, diagram) {
    this.diagram = diagram;
    this.run = element("span", { class: "run" });
    this.goodput = element("span", { class: "goodput" });
    this.said = element("div", { class: "said", role: "status", "aria-live": "polite" });
    this.legend = element("div", { class: "legend" });
    this.shown = new Set();
    const mode = model.get("mode");
    const windows = (mode === "simulated" ? [0.05, 0.2, 1, 5] : [5, 10, 15, 30]).map((s) => element("option", { value: s }, `last ${s} s`));
    this.window = element("select", { "aria-label": "how much of the past is shown",
      onchange: () => (diagram.window = Number(this.window.value)) }, ...windows);
    this.window.value = String(diagram.window);
    const live = [
      button("random fault", "inject a random fault", () => tell({ kind: "random" }), { "data-act": "random" }),
      button("heal all", "all links and speeds are as before", () => tell({ kind: "heal" }), { "data-act": "heal" }),
    ];
    if (mode === "finished") this.run.textContent = model.get("title");
    const knobs = { live, simulated: [], finished: [] }[mode];
    if (mode === "simulated") knobs.push(...this.steering(tell));
    this.bar = element("div", { class: "bar" }, this.run, this.goodput, element("span", { class: "space" }),
      ...knobs, ...(mode === "finished" ? [] : [this.window]));
    this.code = this.block("code", mode === "simulated" ? "the way to here" : "click by click, at once");
    this.plan = this.block("plan", "the same once more, at the same moments of a new run");
    this.pane = element("details", { class: "pane" }, element("summary", {}, "your clicks as code"),
      this.code.parentNode, this.plan.parentNode);
    this.pane.style.display = "none";
  }

  /** Code to paste, and a button that copies it. */
  block(name, title) {
    const code = element("pre", { class: name, tabindex: 0, "aria-label": title });
    const copy = button("copy", `copy the code: ${title}`, () => {
      (navigator.clipboard ? navigator.clipboard.writeText(code.textContent) : Promise.reject()).then(
        () => (this.said.textContent = "copied"),
        () => getSelection().selectAllChildren(code),
      );
    });
    element("div", { class: "block" }, element("div", { class: "head" }, `${title} `, copy), code);
    return code;
  }

  take(frame) {
    if (frame.goodput) {
      const [all, recent] = frame.goodput.map((share) => (share === null ? "–" : `${Math.round(100 * share)} %`));
      this.goodput.textContent = `goodput ${all}, of the last seconds ${recent}`;
      this.goodput.dataset.share = frame.goodput[0];
    }
    if (frame.hidden) {
      this.hidden = (this.hidden || 0) + frame.hidden;
      this.left ??= this.legend.appendChild(element("span", { class: "entry" }));
      this.left.textContent = `(${this.hidden} messages not drawn)`;
    }
    for (const [, , shares] of frame.bins || []) {
      for (const [name] of shares) if (!this.shown.has(name)) this.explain(name);
    }
  }

  explain(name) {
    this.shown.add(name);
    const [label, colour, hatch] = this.diagram.look(name);
    const sign = element("span", { class: name === "paused" ? "swatch paused" : "swatch" });
    if (name !== "paused") {
      sign.style.background = hatch
        ? `repeating-linear-gradient(135deg, ${colour} 0 3px, ${hatch} 3px 4.5px)` : colour;
    }
    this.legend.append(element("span", { class: "entry" }, sign, label));
  }

  // -- of a simulation

  steering(tell) {
    const wish = (kind) => () => tell({ kind });
    const speeds = [0.01, 0.05, 0.1, 0.5, 1, 5].map((s) => element("option", { value: s }, `× ${s}`));
    const speed = element("select", { "aria-label": "virtual seconds in a second", "data-act": "speed",
      onchange: () => tell({ kind: "speed", speed: speed.value }) }, ...speeds);
    speed.value = "0.1";
    this.play = button("▶ play", "play or pause", wish("play"), { "data-act": "play" });
    this.flights = element("ol", { class: "flights", "aria-label": "messages on their way" });
    this.tell = tell;
    return [button("◀ back", "one step back", wish("back"), { "data-act": "back" }), this.play,
      button("step ▶", "the next thing happens", wish("step"), { "data-act": "step" }), speed,
      button("heal all", "the end of all faults; the dead come back", wish("heal"), { "data-act": "heal" })];
  }

  steer(frame) {
    this.run.textContent = `virtual time ${frame.now.toFixed(4)} s, step ${frame.taken}`;
    this.run.dataset.taken = frame.taken;
    this.play.textContent = frame.playing ? "‖ pause" : "▶ play";
    const same = JSON.stringify(frame.flying) + frame.playing;
    if (same === this.flew) return;
    this.flew = same;
    const focused = document.activeElement?.closest(".flights li")?.dataset.number;
    const some = frame.playing ? [] : frame.flying.slice(0, 12);
    this.flights.replaceChildren(...some.map((each) => this.flight(each, frame.now)));
    if (focused) (this.flights.querySelector("button") ?? this.play).focus();
  }

  flight([number, source, target, , due, name, text], now) {
    const way = `${name} from ${source} to ${target}`;
    const fate = (kind, words) => button(words, `${words}: ${way}`, () => this.tell({ kind, number }), { "data-act": kind });
    const when = `${name} ${source} → ${target}, in ${(1000 * (due - now)).toFixed(1)} ms`;
    return element("li", { "data-number": number, title: text }, fate("deliver", "deliver now"),
      fate("drop", "drop"), when);
  }

  choose(number) {
    for (const item of this.flights.children) {
      const mine = item.dataset.number === String(number);
      item.classList.toggle("chosen", mine);
      if (mine) item.querySelector("button").focus();
    }
  }

  begin({ number, name }) {
    if (this.number === number) return;
    this.number = number;
    this.run.textContent = `run ${number}: ${name}`;
    this.goodput.textContent = "";
  }

  setCode({ code, plan = "" }) {
    for (const [block, text] of [[this.code, code], [this.plan, plan]]) {
      block.textContent = text;
      block.parentNode.style.display = text ? "" : "none";
      block.scrollTop = block.scrollHeight;
    }
    this.pane.style.display = code ? "" : "none";
    if (code && !this.opened) this.opened = this.pane.open = true;
  }
}
