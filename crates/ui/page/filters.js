// What is shown of the flows: the same options as `midokube flows` has.

import { command, h, reconcile, replace, setAttribute, setClass, setText } from './dom.js';
import { OPTIONS, commandLine, go, state as current } from './state.js';
import { mark } from './words.js';

const SINCE = [['', 'Last hour'], ['15m', 'Last 15 minutes'], ['5m', 'Last 5 minutes'], ['1m', 'Last minute'], ['10s', 'Last 10 seconds']];
const CHOICES = [['', 'All'], ['allow', 'Allowed'], ['deny', 'Denied'], ['audit', 'Audited']];
const SUGGESTIONS = 60;

// A filter as it is typed: `port=tcp/80`, `not port=tcp/80`, or the name of a Pod or an address.
export function typed(text) {
  const [, negated, rest] = /^\s*(not\s+|!)?\s*(.*?)\s*$/.exec(text);
  if (!rest) return null;
  const [option, ...value] = rest.split('=');
  if (value.length && value.join('=') && [...OPTIONS, 'verdict'].includes(option)) return { not: Boolean(negated), text: rest };
  if (value.length) return { error: `${OPTIONS.join('=, ')}= with a value is expected, for example port=tcp/80` };
  const guess = /^(tcp|udp|sctp)\/\d+$|^icmp$/.test(rest) ? 'port'
    : /^[\d.]+$|:/.test(rest) ? 'address' : rest.includes('/') ? 'pod' : 'namespace';
  return { not: Boolean(negated), text: `${guess}=${rest}` };
}

export function addFilter(filter) {
  if (filter.text.startsWith('verdict=') && !filter.not) return go({ verdict: filter.text.slice(8) });
  const same = (one) => one.text === filter.text && one.not === filter.not;
  if (current.filters.some(same)) return undefined;
  return go({ filters: [...current.filters, filter] });
}

function suggestions(flows) {
  const found = new Set(OPTIONS.map((option) => `${option}=`));
  for (const flow of flows) {
    for (const { pod } of [flow.client, flow.backend]) {
      if (pod) found.add(`pod=${pod}`).add(`namespace=${pod.split('/')[0]}`);
    }
    for (const service of [flow.service, ...flow.endpointOf]) if (service) found.add(`service=${service}`);
    if (flow.reason) found.add(`reason=${flow.reason}`);
    if (flow.protocol && flow.backend.port) found.add(`port=${flow.protocol}/${flow.backend.port}`);
    if (found.size > SUGGESTIONS) break;
  }
  return [...found];
}

export function createFilters() {
  const choices = CHOICES.map(([value, word]) => h('button', { type: 'button', 'data-verdict': value,
    onclick: () => go({ verdict: value }) }, value ? mark(value) : null, word));
  const since = h('select', { 'aria-label': 'Since' }, SINCE.map(([value, word]) => h('option', { value }, word)));
  since.addEventListener('change', () => go({ since: since.value }));
  const list = h('datalist', { id: 'suggestions' });
  const input = h('input', { type: 'text', list: 'suggestions', 'aria-label': 'Add a filter', autocomplete: 'off', spellcheck: 'false',
    placeholder: 'Filter: pod=shop/web, port=tcp/80, not namespace=…', 'aria-describedby': 'filter-error' });
  const error = h('p', { id: 'filter-error', class: 'field-error', role: 'alert' });
  const form = h('form', { class: 'add' }, input, list, h('button', { type: 'submit' }, 'Add'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const filter = typed(input.value);
    setText(error, filter?.error ?? '');
    if (!filter || filter.error) return;
    input.value = '';
    addFilter(filter);
  });
  const chips = h('ul', { class: 'chips', 'aria-label': 'Filters' });
  const shell = h('div', { class: 'shell' });
  let written = null;
  const element = h('div', { class: 'filters' },
    h('div', { class: 'filter-row' }, h('div', { class: 'segments', role: 'group', 'aria-label': 'Verdict' }, choices), since, form), error,
    chips, shell);

  const remove = (filter) => {
    go({ filters: current.filters.filter((one) => one.text !== filter.text || one.not !== filter.not) });
    input.focus();
  };
  const createChip = () => {
    const [not, text] = [h('b'), h('span')];
    const button = h('button', { type: 'button', class: 'chip', onclick: () => remove(chip.filter) }, not, text, h('span', { 'aria-hidden': 'true' }, ' ✕'));
    const chip = Object.assign(h('li', {}, button), { button, not, text });
    return chip;
  };
  const updateChip = (chip, filter) => {
    const word = filter.not ? 'not ' : '';
    chip.filter = filter;
    setText(chip.not, word);
    setText(chip.text, filter.text);
    setAttribute(chip.button, 'aria-label', `${word}${filter.text} ✕, remove the filter`);
  };

  const update = (state, flows, fault) => {
    for (const choice of choices) {
      setAttribute(choice, 'aria-pressed', choice.dataset.verdict === state.verdict);
    }
    if (document.activeElement !== since) {
      if (![...since.options].some((option) => option.value === state.since)) {
        since.append(h('option', { value: state.since }, `Last ${state.since}`));
      }
      since.value = state.since;
    }
    if (fault) setText(error, fault);
    else if (error.fault) setText(error, '');
    error.fault = fault;
    reconcile(chips, state.filters, ({ not, text }) => `${not} ${text}`, createChip, updateChip);
    setClass(chips, 'is-empty', !state.filters.length);
    if (document.activeElement !== input || !list.childElementCount) {
      reconcile(list, suggestions(flows), (text) => text, () => h('option'), (option, value) => setAttribute(option, 'value', value));
    }
    const line = commandLine(state);
    if (line !== written) {
      written = line;
      replace(shell, line ? command(line) : null);
    }
  };
  return { element, update };
}
