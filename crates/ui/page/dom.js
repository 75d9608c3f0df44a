// Elements. Text is only ever set as text: nothing here makes markup of it.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// An element with attributes, listeners (`onclick`) and children, which are elements or text.
export function h(name, properties, ...children) {
  return fill(document.createElement(name), properties, children);
}

// The same of SVG.
export function s(name, properties, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

// Sets text, unless it is there already.
export function setText(element, text) {
  const wanted = String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setClass(element, name, is) {
  element.classList.toggle(name, Boolean(is));
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

// Makes the children of an element those of a list, one each, in its order. What stays is updated where it is: the focus
// and a selection stay with it. Elements of what has gone are used again for what is new.
export function reconcile(parent, list, key, create, update) {
  const before = parent.known ?? new Map();
  const items = new Map();
  for (const item of list) {
    const id = key(item);
    if (!items.has(id)) items.set(id, item);
  }
  const free = [];
  for (const [id, element] of before) if (!items.has(id)) free.push(element);
  let at = parent.firstChild;
  const next = new Map();
  let used = 0;
  for (const [id, item] of items) {
    const element = before.get(id) ?? free[used++] ?? create();
    next.set(id, element);
    update(element, item);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
  for (const element of free.slice(used)) element.remove();
  parent.known = next;
}

// Replaces all children.
export function replace(parent, ...children) {
  parent.known = undefined;
  parent.replaceChildren(...children.flat().filter(Boolean));
}

// A list of names and values; values that are not known are left out.
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, known.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

// A table. Columns are [title, class]; each row is a list of cells.
export function table(label, columns, rows) {
  const head = h('tr', {}, columns.map(([title, kind]) => h('th', { scope: 'col', class: kind }, title)));
  const row = (cells) => h('tr', {}, cells.map((cell, index) => h('td', { class: columns[index][1] }, cell)));
  const body = h('tbody', {}, rows.map(row));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label },
    h('table', {}, h('thead', {}, head), body));
}

export function section(title, note, ...children) {
  return h('section', { class: 'card' },
    h('div', { class: 'card-head' }, h('h2', {}, title), note ? h('span', { class: 'note' }, note) : null), children);
}

// A command that does the same in a terminal.
export function command(text) {
  const copy = h('button', { type: 'button', class: 'quiet', 'aria-label': 'Copy the command' }, 'Copy');
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      setText(copy, 'Copied');
    } catch {
      setText(copy, 'Select it');
    }
    setTimeout(() => setText(copy, 'Copy'), 2000);
  });
  return h('div', { class: 'command' }, h('code', {}, text), copy);
}
