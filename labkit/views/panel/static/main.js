// Puts the parts together, and hears the kernel.

const SILENCE = 3000; // milliseconds: ten updates a second come as long as the kernel lives

function render({ model, el }) {
  const send = (message) => {
    if (message.kind === "look") knobs.said.textContent = message.text;
    else if (message.kind === "choose") knobs.choose(message.number);
    else if (!root.classList.contains("silent")) model.send(message);
  };
  const mode = model.get("mode");
  const view = crypto.getRandomValues(new Uint32Array(1))[0] + 1; // of this page, maybe of several
  const diagram = new Diagram(model, send);
  const curves = new Curves(model, diagram);
  const table = new Table(model, send);
  const knobs = new Knobs(model, send, diagram);
  const image = element("img", { class: "picture", alt: "the timeline of the run that is over" });
  image.style.display = "none";
  const root = element("div", { class: "labkit-panel", role: "region", "aria-label": "live panel", "data-mode": mode });
  root.append(knobs.bar, table.element, knobs.said, knobs.legend, diagram.element, curves.element, image, knobs.pane);
  if (mode === "simulated") {
    curves.element.replaceWith(knobs.flights);
  } else if (mode === "finished") root.insertBefore(scrubber(diagram, send), table.element);
  el.append(root);
  keepKeys(root);

  const live = (on) => {
    for (const part of [diagram.element, curves.element, knobs.legend]) part.style.display = on ? "" : "none";
    image.style.display = on ? "none" : "";
  };
  const begin = (run) => {
    knobs.begin(run);
    live(true);
    root.dataset.run = run.number;
  };
  const take = (frame) => {
    if (frame.run) curves.begin();
    diagram.take(frame);
    curves.take(frame);
    knobs.take(frame);
    if (frame.rows) table.take(frame.rows);
    if (frame.run) begin(frame.run);
    if (frame.bands) table.cuts(frame.bands);
    if (mode === "simulated") knobs.steer(frame);
    root.dataset.now = frame.now;
    if (frame.range) root.querySelector(".scrubber").dataset.seconds = frame.range[1];
  };
  const hear = (message, buffers) => {
    if (message.view && message.view !== view) return; // the answer to another view's hello
    root.dataset.heard = message.kind;
    if (message.kind === "frame") take(message.frame);
    else if (message.kind === "frames") {
      message.frames.forEach(take);
      table.take(message.rows);
      if (message.run) begin(message.run);
    } else if (message.kind === "reset") diagram.reset();
    else if (message.kind === "knowledge") {
      table.take(message.rows);
      root.dataset.at = message.t;
    } else if (message.kind === "code") knobs.setCode(message);
    else if (message.kind === "said") knobs.said.textContent = message.text;
    else if (message.kind === "picture") {
      const data = buffers[0];
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(new Blob([data.buffer ?? data], { type: "image/png" }));
      live(false);
    } else if (message.kind === "closed") {
      root.classList.add("closed");
      for (const knob of root.querySelectorAll("button[data-act]")) knob.disabled = true;
      knobs.run.textContent = "the cluster is closed";
    }
  };
  const present = () => {
    diagram.present = model.get("present");
    root.classList.toggle("present", diagram.present);
  };
  model.on("msg:custom", hear);
  model.on("change:present", present);
  present();

  let [last, over, seen, silent] = [0, false, true, false];
  const watch = new IntersectionObserver((entries) => (seen = entries[entries.length - 1].isIntersecting));
  watch.observe(root);
  const draw = (time) => {
    if (over) return;
    requestAnimationFrame(draw);
    if (time - last < (mode === "live" ? FRAME : 2 * FRAME) || !seen || root.classList.contains("closed")) return;
    last = time;
    diagram.draw();
    curves.draw();
    if (mode === "live" && silent !== performance.now() - diagram.arrived > SILENCE) {
      silent = !silent;
      root.classList.toggle("silent", silent);
      knobs.said.textContent = silent ? "Nothing is heard of this notebook's kernel. Was it restarted? Run the cell again." : "";
    }
  };
  requestAnimationFrame(draw);
  model.send({ kind: "hello", view });
  return () => {
    over = true;
    watch.disconnect();
    model.off("msg:custom", hear);
    model.off("change:present", present);
  };
}

/** A key that is meant for the panel is none for the notebook, where d twice deletes the cell. Only
 * what runs a cell and what saves the notebook goes on: one does that with the focus anywhere. (The
 * attribute data-lm-suppress-shortcuts, which JupyterLab knows, would hold up these two as well.) */
function keepKeys(root) {
  root.addEventListener("keydown", (event) => {
    const accel = event.ctrlKey || event.metaKey;
    const runs = event.key === "Enter" && (accel || event.shiftKey || event.altKey);
    const saves = accel && event.key.toLowerCase() === "s";
    if (!runs && !saves) event.stopPropagation();
  });
}

/** The slider of a finished run: the kernel says who knew what at that time. */
function scrubber(diagram, tell) {
  const time = element("output", {}, "0.00 s");
  const slider = element("input", { type: "range", min: 0, max: 1000, value: 0,
    "aria-label": "time in the run", oninput: () => {
      const seconds = (Number(slider.value) / 1000) * diagram.range[1];
      diagram.cursor = seconds;
      time.textContent = `who knew what at ${seconds.toFixed(3)} s`;
      tell({ kind: "at", t: seconds });
    } });
  diagram.cursor = 0;
  return element("div", { class: "scrubber" }, slider, time);
}

export default { render };
