// Shapes: every kind of event has one of its own, so that none is told from another by colour only.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes = {}, text = "") {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  return node;
}

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function button(text, label, onclick, attributes = {}) {
  const how = { type: "button", "aria-label": label, title: label, onclick, ...attributes };
  return element("button", how, text);
}

/** With a rim of paper, to be seen on any activity. */
function rimmed(d, name) {
  const both = shape("g");
  both.append(shape("path", { d, class: "rim" }), shape("path", { d, class: name }));
  return both;
}

// Each draws around (0, 0), the middle of its lane; h is half the lane's thickness.
const DRAW = {
  death: (h) => rimmed(`M${-h} ${-h}L${h} ${h}M${-h} ${h}L${h} ${-h}`, "cross"),
  view: (h) => rimmed(`M0 ${-h - 3}V${h + 3}`, "bar"),
  checkpoint: (h) => shape("path", { d: `M0 ${-h}L${h} 0L0 ${h}L${-h} 0Z`, class: "diamond" }),
  lost: (h) => shape("path", { d: `M${-h * 0.8} ${-h * 0.6}H${h * 0.8}L0 ${h * 0.8}Z`, class: "triangle" }),
  start: (h) => shape("path", { d: `M${-h * 0.5} ${-h}L${h} 0L${-h * 0.5} ${h}Z`, class: "begin" }),
  fault: () => shape("path", { d: "M-5 -10H5L0 0Z", class: "strike" }),
  note: () => shape("circle", { r: 4, class: "note" }),
  role: (h) => shape("path", { d: `M0 ${-h}V${h}`, class: "turn" }),
};

/** What is written beside a mark, if anything is. */
function wordsOf(mark) {
  if (mark.kind === "death") return mark.label.split(": ")[1];
  if (mark.kind === "fault" || mark.kind === "start" || mark.first) return mark.label;
  return "";
}

/** A mark as a group of shapes, to be moved along by its `transform`. */
function drawMark(mark, half, onpick) {
  const group = shape("g", {
    class: `mark ${mark.kind}`, role: "img", "data-kind": mark.kind, "data-rank": mark.lane,
    "data-id": mark.id, "data-t": mark.t, "aria-label": mark.label,
  });
  if (mark.number !== undefined) group.dataset.number = mark.number;
  group.append(shape("title", {}, mark.label));
  group.append((DRAW[mark.kind] || DRAW.note)(half));
  group.append(shape("circle", { r: half + 4, class: "target" }));
  if (mark.kind === "fault") group.append(shape("path", { class: "stem" })); // up to its words
  group.addEventListener("click", () => onpick(mark.id));
  return group;
}
