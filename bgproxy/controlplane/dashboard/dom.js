// Building elements: text is always text, never markup, whatever the proxy or a backend sent.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
  return node;
}

// An HTML element with attributes (`onclick` and the like are listeners) and children.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// An SVG element.
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Replaces what `node` holds only if it changed, so that focus and selection survive a refresh.
export function render(node, ...children) {
  const fresh = document.createElement("div");
  fresh.append(...children.flat(Infinity).filter(Boolean));
  if (fresh.innerHTML === node.innerHTML) return;
  node.replaceChildren(...fresh.childNodes);
}
