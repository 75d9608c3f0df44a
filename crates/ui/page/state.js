// What is looked at: it is in the address bar, so that it can be sent to somebody, and back is back.

// The options of `midokube flows`.
export const OPTIONS = ['namespace', 'pod', 'address', 'port', 'reason', 'service'];
export const VERDICTS = ['', 'allow', 'deny', 'audit'];
const MOST_FILTERS = 32;

const listeners = new Set();

export function parse(search) {
  const query = new URLSearchParams(search);
  const view = ['nodes', 'node', 'pod'].includes(query.get('view')) ? query.get('view') : 'traffic';
  const filters = [];
  for (const [name, value] of query) {
    if (filters.length >= MOST_FILTERS || !value) continue;
    if (name === 'not') filters.push({ not: true, text: value });
    else if (OPTIONS.includes(name)) filters.push({ not: false, text: `${name}=${value}` });
  }
  return {
    view,
    name: query.get('name') ?? '',
    focus: query.get('focus') ?? '',
    as: query.get('as') === 'table' ? 'table' : 'map',
    verdict: VERDICTS.includes(query.get('verdict')) ? query.get('verdict') ?? '' : '',
    since: query.get('since') ?? '',
    trace: query.get('trace') ?? '',
    filters,
  };
}

export function address(state) {
  const query = new URLSearchParams();
  if (state.view !== 'traffic') query.set('view', state.view);
  if (state.name && ['node', 'pod'].includes(state.view)) query.set('name', state.name);
  if (state.trace && state.view === 'pod') query.set('trace', state.trace);
  for (const name of ['focus', 'verdict', 'since']) if (state[name]) query.set(name, state[name]);
  if (state.as === 'table') query.set('as', 'table');
  for (const { not, text } of state.filters) {
    const [option, ...value] = text.split('=');
    if (not) query.append('not', text);
    else query.append(option, value.join('='));
  }
  const text = query.toString();
  return text ? `/?${text}` : '/';
}

// What the server is asked for: the filters, and what is looked at.
export function selection(state, without = []) {
  const query = new URLSearchParams();
  if (state.focus && !without.includes('focus')) query.set('focus', state.focus);
  if (state.verdict && !without.includes('verdict')) query.set('verdict', state.verdict);
  if (state.since) query.set('since', state.since);
  for (const { not, text } of state.filters) {
    const [option, ...value] = text.split('=');
    if (not) query.append('not', text);
    else query.append(option, value.join('='));
  }
  return query;
}

export function isFiltered(state) {
  return Boolean(state.focus || state.verdict || state.since || state.filters.length);
}

// A word of a command, for a shell.
export function quoted(text) {
  return /^[\w./:=[\]-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// The command that lists the same flows; null: there is none for a workload.
export function commandLine(state) {
  const words = ['midokube', 'flows'];
  if (state.focus.includes('/')) return null;
  if (state.focus) words.push('-n', quoted(state.focus));
  for (const { not, text } of state.filters) {
    const [option, ...value] = text.split('=');
    if (not) words.push('--not', quoted(text));
    else if (option === 'pod') words.push(quoted(value.join('=')));
    else words.push(`--${option}`, quoted(value.join('=')));
  }
  if (state.verdict) words.push('--verdict', state.verdict);
  if (state.since) words.push('--since', quoted(state.since));
  return words.join(' ');
}

export let state = parse(location.search);

export function onChange(listener) {
  listeners.add(listener);
}

function changed(before) {
  for (const listener of listeners) listener(state, before);
}

export function go(changes, { replace = false } = {}) {
  const before = state;
  state = { ...state, ...changes };
  const to = address(state);
  if (to === address(before)) return;
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  changed(before);
}

addEventListener('popstate', () => {
  const before = state;
  state = parse(location.search);
  changed(before);
});

// Links within the page do not load it again.
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const to = new URL(link.href);
  if (to.origin !== location.origin || to.pathname !== '/' || link.getAttribute('href').startsWith('#')) return;
  event.preventDefault();
  go(parse(to.search));
});
