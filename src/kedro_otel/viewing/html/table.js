// The figures: one row for each node, or each dataset, sorted by any column, fifty of them and then as many as one asks for.
const FIRST = 50;
const STEP = 200;
const table = { what: 'nodes', sort: 'took', down: true, filter: '', shown: FIRST };

const total = Math.max(data.run[1] - data.run[0], 1);
const TABLES = {
  nodes: {
    rows: [...nodes, ...idle].map((span) => ({ label: span.label, span, idle: span.state === 'idle', start: span.state === 'idle' ? Infinity : span.start - data.run[0], took: span.took, load: span.load, compute: span.compute, save: span.save, hooks: span.hooks, cpu: span.cpu, peak: span.peak, failed: span.failed, outcome: span.state === 'idle' ? 'never ran' : span.state === 'died' ? 'killed' : span.failed ? 'failed' : span.state === 'open' ? 'running' : span.state === 'unknown' ? 'unknown' : 'ok' })),
    columns: [['label', 'Node'], ['took', 'Time'], ['share', 'Share'], ['load', 'Load'], ['compute', 'Compute'], ['save', 'Save'], ['hooks', 'Hooks'], ...(nodes.some((one) => one.cpu >= 0) ? [['cpu', 'CPU']] : []), ...(nodes.some((one) => one.peak >= 0) ? [['peak', 'Memory']] : []), ['start', 'Began'], ['outcome', 'Outcome']],
  },
  datasets: {
    rows: data.datasets.name.map((name, index) => ({
      label: text(name), type: text(data.datasets.type[index]).split('.').pop(), loads: data.datasets.loads[index], load: data.datasets.load[index], saves: data.datasets.saves[index],
      save: data.datasets.save[index], took: data.datasets.load[index] + data.datasets.save[index], rows: data.datasets.rows[index], failed: Boolean(data.datasets.failed[index]),
    })),
    columns: [['label', 'Dataset'], ['took', 'Time'], ['share', 'Share'], ['loads', 'Loads'], ['load', 'Load time'], ['saves', 'Saves'], ['save', 'Save time'], ...(data.datasets.rows.some((rows) => rows >= 0) ? [['rows', 'Rows']] : []), ['type', 'Type']],
  },
};
const WORDS = new Set(['label', 'type', 'outcome']);
// Figures that are -1 where they were not recorded.
const AMOUNTS = { cpu: duration, peak: bytes, rows: (rows) => rows.toLocaleString('en') };
const COUNTS = new Set(['loads', 'saves']);

function shareOf(row, longest) {
  const svg = drawn('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(drawn('rect', { class: 'rail', width: 100, height: 8, rx: 2 }));
  let at = 0;
  for (const kind of ['load', 'compute', 'save']) {
    const wide = ((row[kind] || 0) / longest) * 100;
    if (wide > 0) svg.append(drawn('rect', { class: kind, x: at, width: Math.max(wide, 0.7), height: 8 }));
    at += wide;
  }
  return svg;
}

function drawTable() {
  const { rows, columns } = TABLES[table.what];
  const key = table.sort === 'share' ? 'took' : table.sort;
  const found = rows.filter((row) => !table.filter || row.label.toLowerCase().includes(table.filter));
  found.sort((a, b) => (WORDS.has(key) ? a[key].localeCompare(b[key]) : a[key] - b[key]) * (table.down ? -1 : 1));
  const longest = rows.reduce((most, row) => Math.max(most, row.took), 1);
  const made = make('table');
  const head = make('tr');
  for (const [name, title] of columns) {
    const cell = make('th', name === 'share' || name === 'type' ? 'words' : '');
    cell.scope = 'col';
    if (name === table.sort) cell.setAttribute('aria-sort', table.down ? 'descending' : 'ascending');
    const button = make('button', '', title);
    button.type = 'button';
    button.dataset.sort = name;
    cell.append(button);
    head.append(cell);
  }
  const top = make('thead');
  top.append(head);
  const body = make('tbody');
  for (const row of found.slice(0, table.shown)) {
    const line = make('tr', row.failed ? 'bad' : row.idle ? 'idle' : '');
    line.span = row.span;
    for (const [name] of columns) {
      let cell;
      if (name === 'label') {
        cell = make('th');
        cell.scope = 'row';
        const label = make('bdi', '', row.label);
        if (row.label.length > 24) cell.title = row.label;
        if (row.span && !row.idle) { const button = make('button'); button.type = 'button'; button.append(label); button.addEventListener('click', () => visit(row.span)); cell.append(button); } else cell.append(label);
      } else if (name === 'share') {
        cell = make('td', 'share');
        cell.append(shareOf(row, longest));
        cell.title = `${((row.took / total) * 100).toFixed(1)} % of the run`;
      } else if (WORDS.has(name)) cell = make('td', name === 'type' ? 'words' : row.failed ? 'bad' : '', row[name]);
      else if (AMOUNTS[name]) cell = make('td', row[name] >= 0 ? '' : 'zero', row[name] >= 0 ? AMOUNTS[name](row[name]) : '–');
      else if (row.idle) cell = make('td', 'zero', '–');
      else cell = make('td', row[name] || name === 'start' ? '' : 'zero', COUNTS.has(name) ? row[name] || '–' : name === 'start' || row[name] ? duration(Math.max(row[name], 0)) : '–');
      line.append(cell);
    }
    body.append(line);
  }
  made.append(top, body);
  byId('figures').replaceChildren(made);
  if (view.picked) highlight(view.picked);
  const more = byId('more');
  const rest = found.length - table.shown;
  more.hidden = rest <= 0;
  more.textContent = `Show ${Math.min(STEP, rest).toLocaleString('en')} more of ${found.length.toLocaleString('en')}`;
}

function startTable() {
  if (!nodes.length && !data.datasets.name.length) return;
  byId('tables').hidden = false;
  const tabs = ['nodes', 'datasets'].map((name) => byId(`tab-${name}`));
  const choose = (what) => {
    Object.assign(table, { what, sort: 'took', down: true, shown: FIRST });
    for (const tab of tabs) { const on = tab.id === `tab-${what}`; tab.setAttribute('aria-selected', on); tab.tabIndex = on ? 0 : -1; }
    byId('figures').setAttribute('aria-labelledby', `tab-${what}`);
    drawTable();
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener('click', () => choose(tab.id.slice(4)));
    tab.addEventListener('keydown', (event) => { if (['ArrowLeft', 'ArrowRight'].includes(event.key)) { const other = tabs[1 - index]; choose(other.id.slice(4)); other.focus(); } });
  });
  if (!data.datasets.name.length) tabs[1].hidden = true;
  byId('figures').addEventListener('click', (event) => {
    const button = event.target.closest('[data-sort]');
    if (!button) return;
    const name = button.dataset.sort;
    table.down = table.sort === name ? !table.down : !WORDS.has(name) && name !== 'start';
    table.sort = name;
    drawTable();
    byId('figures').querySelector(`[data-sort=${name}]`).focus({ preventScroll: true });
  });
  byId('filter').addEventListener('input', (event) => { table.filter = event.target.value.trim().toLowerCase(); table.shown = FIRST; drawTable(); });
  byId('more').addEventListener('click', () => { table.shown += STEP; drawTable(); });
  drawTable();
}
