// What all pages are made of. Text from recordings is only ever set as text.
const byId = (id) => document.getElementById(id);

function make(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function drawn(tag, attributes, ...content) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

// Control characters become their pictures; what turns a line around, or is invisible, becomes U+FFFD.
const clean = (text) => String(text ?? '').slice(0, 400)
  .replace(/[\u0000-\u001f]/g, (found) => String.fromCharCode(0x2400 + found.charCodeAt(0)))
  .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/gu, '\ufffd');
const named = (text, className) => make('bdi', className, clean(text));

function duration(us) {
  if (us < 1e3) return `${Math.floor(us)} µs`;
  if (us < 1e6) return us < 9950 ? `${(us / 1e3).toFixed(1)} ms` : `${Math.min(us / 1e3, 999).toFixed(0)} ms`;
  if (us < 6e7) return us < 9.995e6 ? `${(us / 1e6).toFixed(2)} s` : `${Math.min(us / 1e6, 59.9).toFixed(1)} s`;
  const pad = (number) => String(Math.floor(number)).padStart(2, '0');
  if (us < 3.6e9) return `${Math.floor(us / 6e7)} m ${pad((us % 6e7) / 1e6)} s`;
  if (us < 8.64e10) return `${Math.floor(us / 3.6e9)} h ${pad((us % 3.6e9) / 6e7)} m`;
  return `${Math.floor(us / 8.64e10)} d ${pad((us % 8.64e10) / 3.6e9)} h`;
}

function bytes(number) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (number >= 1024 && unit < 4) { number /= 1024; unit += 1; }
  return `${number.toFixed(unit && number < 10 ? 1 : 0)} ${units[unit]}`;
}

const when = (value) => new Date(value).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const plural = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
const signed = (us) => `${us < 0 ? '−' : '+'}${duration(Math.abs(us))}`;
const ICONS = { ok: '✓', running: '▶', unknown: '?' };

function word(outcome) {
  const icon = make('span', '', `${ICONS[outcome] ?? '✕'} `);
  icon.setAttribute('aria-hidden', 'true');
  return make('span', `word ${outcome in ICONS || ['failed', 'killed', 'interrupted'].includes(outcome) ? outcome : 'unknown'}`, icon, outcome);
}

function bar(part, outcome) {
  const svg = drawn('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(drawn('rect', { class: 'rail', width: 100, height: 8, rx: 2 }), drawn('rect', { class: outcome, width: Math.max(part * 100, 0.7), height: 8 }));
  return svg;
}

const MARKS = { above: '▲', below: '▼' };
function mark(standing, more = 'slow', less = 'fast') {
  return standing ? make('span', 'mark', ` ${MARKS[standing]} ${standing === 'above' ? more : less}`) : '';
}

// A table whose columns sort: each is a key, a title, a function that makes a cell's content, and how the cell looks.
function sortable(columns, rows, state, label) {
  const made = make('table');
  made.setAttribute('aria-label', label);
  const head = make('tr');
  for (const column of columns) {
    const cell = make('th', column.look === undefined ? '' : 'words');
    cell.scope = 'col';
    if (column.value) {
      const button = make('button', '', column.title);
      button.type = 'button';
      button.dataset.sort = column.key;
      if (state.sort === column.key) cell.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      cell.append(button);
    } else if (column.title) cell.append(make('span', column.hidden ? 'sr' : 'quiet', column.title));
    head.append(cell);
  }
  const by = columns.find((column) => column.key === state.sort)?.value;
  const found = by ? [...rows].sort((a, b) => { const x = by(a); const y = by(b); return (typeof x === 'string' ? x.localeCompare(y) : (x ?? -Infinity) - (y ?? -Infinity)) * (state.down ? -1 : 1); }) : rows;
  const body = make('tbody');
  for (const row of found.slice(0, state.shown ?? Infinity)) {
    const line = make('tr');
    for (const column of columns) {
      const cell = make(column.head ? 'th' : 'td', column.look ?? '');
      if (column.head) cell.scope = 'row';
      const content = column.cell(row);
      if (content !== null && content !== undefined && content !== '') cell.append(content);
      if (column.hint) cell.title = clean(column.hint(row));
      line.append(cell);
    }
    body.append(line);
  }
  made.append(make('thead', '', head), body);
  made.addEventListener('click', (event) => {
    const button = event.target.closest('[data-sort]');
    if (!button) return;
    const key = button.dataset.sort;
    state.down = state.sort === key ? !state.down : true;
    state.sort = key;
    state.redraw();
    document.querySelector(`[data-sort="${key}"]`)?.focus({ preventScroll: true });
  });
  const scroll = make('div', 'scroll', made);
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', `${label}, scrolls sideways`);
  return scroll;
}

// One bar for each run, the oldest first; a dashed line is what is usual. The table below it says the same in words.
function chart(points, usual, say, label) {
  const wide = 1000;
  const tall = 150;
  const most = points.reduce((found, one) => Math.max(found, one.value), usual || 0) || 1;
  const svg = drawn('svg', { viewBox: `0 0 ${wide} ${tall}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label });
  const step = wide / Math.max(points.length, 12);
  points.forEach((one, index) => {
    const height = Math.max((one.value / most) * (tall - 22), 1);
    const rect = drawn('rect', { class: `${one.outcome}${one.out ? ' out' : ''}`, x: (index * step + step * 0.12).toFixed(2), y: (tall - height).toFixed(2), width: (step * 0.76).toFixed(2), height: height.toFixed(2) });
    rect.append(drawn('title', {}, `${when(one.start)}: ${say(one.value)}, ${one.outcome}`));
    svg.append(rect);
  });
  if (usual) {
    const y = tall - (usual / most) * (tall - 22);
    svg.append(drawn('line', { 'vector-effect': 'non-scaling-stroke', x1: 0, x2: wide, y1: y, y2: y }));
  }
  const scale = make('p', 'hint', `The tallest is ${say(most)}${usual ? `; usually ${say(usual)} (dashed)` : ''}. The oldest is on the left.`);
  return make('div', '', make('div', 'chart', svg), scale);
}

const setStatus = (text) => { byId('said').textContent = text; };

async function ask(path, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== '' && value !== undefined));
  const answer = await fetch(`/api/${path}?${query}`);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

function field(label, input, className = '') {
  return make('label', className, make('span', 'sr', label), input);
}

function choice(id, options, chosen) {
  const select = make('select');
  select.id = id;
  for (const [value, title] of options) {
    const option = make('option', '', clean(title));
    option.value = value;
    option.selected = value === chosen;
    select.append(option);
  }
  return select;
}
