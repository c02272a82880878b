// The timeline: a tree of rows on one time axis. Only the rows in view are in the document, so that ten thousand are as quick as ten.
const HEIGHT = 28;
const ROWS = 40;
const rowsBox = byId('rows');
const sheet = byId('sheet');
const ruler = byId('ruler');
const folded = new Set();
const view = { from: 0, to: 1, rows: [], picked: null, query: '', only: '', printing: false };
const extent = [Math.min(0, data.run[0]), Math.max(data.end, data.run[1], 1)];

function foldByDefault() {
  for (const span of all) {
    if (!span.children.length) continue;
    if (span.kind === 'namespace') { if (nodes.length > ROWS) folded.add(span.id); continue; }
    if (span.kind === 'node' || span.kind === 'dataset' || span.kind === 'foreign') {
      const shown = span.children.some((child) => child.kind !== 'dataset' || child.failed || child.children.length);
      if (!shown || nodes.length > ROWS) { if (!span.children.some((child) => child.failed)) folded.add(span.id); }
    }
  }
}

// Of a large run, namespaces are open as far as their rows fit: where something failed first, then where most time was spent.
function openWhatFits() {
  const worth = (a, b) => b.failed - a.failed || b.took - a.took;
  const groups = all.filter((span) => span.kind === 'namespace' && span.parent.kind !== 'namespace');
  let left = ROWS - all.filter((span) => span.parent && ['command', 'run'].includes(span.parent.kind)).length;
  while (groups.length) {
    const group = groups.sort(worth).shift();
    if (group.children.length > left) continue;
    left -= group.children.length;
    folded.delete(group.id);
    groups.push(...group.children.filter((child) => child.kind === 'namespace'));
  }
}

function matches(span) {
  if (view.only === 'critical' && !(span.critical && span.kind === 'node')) return false;
  if (view.only === 'failed' && !span.failed) return false;
  if (view.only === 'slow' && !span.slow) return false;
  return !view.query || span.label.toLowerCase().includes(view.query) || (span.namespace || '').toLowerCase().includes(view.query);
}

// Rows in order. With a search or a filter: what matches, and what is above it, unfolded.
function listRows() {
  const found = [];
  const filtered = view.query || view.only;
  let hits = 0;
  const wanted = new Set();
  if (filtered) {
    for (const span of all) {
      if (!matches(span)) continue;
      hits += 1;
      for (let at = span; at && !wanted.has(at.id); at = at.parent) wanted.add(at.id);
    }
  }
  const waiting = [[root, 1]];
  while (waiting.length) {
    const [span, level] = waiting.pop();
    if (filtered && !wanted.has(span.id)) continue;
    const inside = filtered ? span.children.some((child) => wanted.has(child.id)) : span.children.length > 0;
    const open = inside && (filtered ? true : !folded.has(span.id));
    found.push({ span, level, inside: span.children.length > 0, open });
    if (open) for (let index = span.children.length - 1; index >= 0; index -= 1) waiting.push([span.children[index], level + 1]);
  }
  view.rows = found;
  byId('count').textContent = filtered ? (hits ? `${plural(hits, 'match')}` : 'no match') : plural(found.length, 'row');
}

function layRows() {
  listRows();
  sheet.style.height = `${view.rows.length * HEIGHT}px`;
  rowsBox.setAttribute('aria-rowcount', view.rows.length);
  drawRows();
  const gutter = rowsBox.offsetWidth - rowsBox.clientWidth;
  document.querySelector('.lanes').style.setProperty('--gutter', `${gutter}px`);
}

const percent = (when) => ((when - view.from) / (view.to - view.from)) * 100;

function stretch(lane, from, to, className) {
  if (to < view.from || from > view.to) return null;
  const bar = make('i', className);
  const left = Math.max(percent(from), -1);
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.max(Math.min(percent(to), 101) - left, 0)}%`;
  lane.append(bar);
  return bar;
}

function drawLane(lane, span) {
  const { kind } = span;
  if (kind === 'namespace') {
    const busy = [...span.members].sort((a, b) => a.start - b.start);
    let [from, to] = [busy[0].start, busy[0].end];
    const least = (view.to - view.from) / 400;
    for (const one of busy) {
      if (one.start <= to + least) { to = Math.max(to, one.end); continue; }
      stretch(lane, from, to, 'many');
      [from, to] = [one.start, one.end];
    }
    stretch(lane, from, to, 'many');
  } else if (kind === 'node') {
    stretch(lane, span.start, span.end, 'compute');
    const datasets = span.children.filter((child) => child.kind === 'dataset' && child.what);
    if (datasets.length) for (const child of datasets) stretch(lane, child.start, child.end, `${child.what} over`);
    else {
      if (span.load) stretch(lane, span.start, span.start + span.load, 'load over');
      if (span.save) stretch(lane, span.end - span.save, span.end, 'save over');
    }
  } else if (kind === 'dataset') stretch(lane, span.start, span.end, span.failed ? 'bad' : span.what || 'load');
  else if (kind === 'foreign') stretch(lane, span.start, span.end, span.failed ? 'foreign bad' : 'foreign');
  else {
    stretch(lane, span.start, span.end, 'spine');
    const least = (view.to - view.from) / 1000;
    if (span.start < view.from - least) lane.append(make('b', 'beyond', '◂'));
    if (span.end > view.to + least) lane.append(make('b', 'beyond after', '▸'));
  }
  if (span.critical && kind === 'node') stretch(lane, span.start, span.end, 'critical');
  if (span.failed && (kind === 'node' || kind === 'namespace')) {
    const end = kind === 'namespace' ? span.members.find((one) => one.failed).end : span.end;
    if (kind === 'node') stretch(lane, span.start, span.end, 'wound');
    const word = make('b', '', span.state === 'died' ? '✕ killed' : '✕');
    const at = percent(end);
    if (at >= 0 && at <= 100) {
      word.style.left = `${at}%`;
      if (at > 85) { word.classList.add('left'); if (kind === 'node') word.style.left = `${Math.max(percent(span.start), 8)}%`; }
      lane.append(word);
    }
  }
}

function describe(span) {
  const parts = [`starts at ${duration(span.start)}`];
  if (span.kind === 'node') parts.push(`load ${duration(span.load)}`, `compute ${duration(span.compute)}`, `save ${duration(span.save)}`, `hooks ${duration(span.hooks)}`);
  if (span.critical) parts.push('on the critical path');
  if (span.failed) parts.push(span.state === 'died' ? 'killed' : 'failed');
  return parts.join(', ');
}

function drawRow({ span, level, inside, open }, index) {
  const row = make('div', `row ${span.kind}${span.failed ? ' failed' : ''}${view.picked === span ? ' picked' : ''}`);
  row.id = `row-${span.id}`;
  row.setAttribute('role', 'row');
  row.setAttribute('aria-level', level);
  row.setAttribute('aria-rowindex', index + 1);
  row.setAttribute('aria-selected', view.picked === span);
  if (inside) row.setAttribute('aria-expanded', open);
  if (!view.printing) row.style.top = `${index * HEIGHT}px`;
  const name = make('div', 'name');
  name.setAttribute('role', 'gridcell');
  const narrow = innerWidth <= 640;
  const indent = Math.min(level - 1, 12) * (narrow ? 9 : 15);
  name.style.paddingLeft = `${indent}px`;
  const twist = make('span', 'twist', inside ? (open ? '▼' : '▶') : '');
  twist.setAttribute('aria-hidden', 'true');
  const full = span.kind === 'dataset' && span.what ? `${span.what} ${span.label}` : span.kind === 'run' ? `run ${span.label}`.replace(/^run run /, 'run ') : span.short || span.label;
  setFont(narrow ? 12.5 : 14, span.failed || ['command', 'run', 'namespace'].includes(span.kind) ? 620 : 400);
  const room = view.nameWide - indent - (narrow ? 15 : 18) - 10 - (span.critical && !narrow ? 16 : 0) - (span.members ? String(span.members.length).length * 8 + 8 : 0);
  const label = make('bdi', '', view.printing ? full : shortened(full, Math.max(room, 30)));
  if (label.textContent !== full) { name.title = full; name.setAttribute('aria-label', full); }
  name.append(twist, label);
  if (span.members) name.append(make('span', 'size', span.members.length.toLocaleString('en')));
  if (span.critical && (span.kind === 'node' || span.kind === 'namespace')) {
    const mark = make('span', 'mark', '◆');
    mark.setAttribute('aria-hidden', 'true');
    name.append(mark);
  }
  const lane = make('div', 'lane');
  lane.setAttribute('role', 'gridcell');
  lane.setAttribute('aria-label', describe(span));
  drawLane(lane, span);
  const time = make('div', 'time', span.state === 'unknown' ? '?' : duration(span.took));
  time.setAttribute('role', 'gridcell');
  row.append(name, lane, time);
  return row;
}

function drawRows() {
  view.nameWide = parseFloat(getComputedStyle(document.querySelector('.lanes')).paddingLeft);
  const all = view.printing;
  const first = all ? 0 : Math.max(Math.floor(rowsBox.scrollTop / HEIGHT) - 8, 0);
  const last = all ? Math.min(view.rows.length, 500) : Math.min(first + Math.ceil((rowsBox.clientHeight || 800) / HEIGHT) + 16, view.rows.length);
  const made = document.createDocumentFragment();
  for (let index = first; index < last; index += 1) made.append(drawRow(view.rows[index], index));
  sheet.replaceChildren(made);
  if (all) {
    [...sheet.children].forEach((row, index) => { row.style.top = `${index * HEIGHT}px`; });
    sheet.style.height = `${last * HEIGHT}px`;
  }
  const picked = view.picked && sheet.querySelector('.picked');
  if (picked) rowsBox.setAttribute('aria-activedescendant', picked.id);
  else rowsBox.removeAttribute('aria-activedescendant');
}

function drawRuler() {
  const wide = ruler.clientWidth || 600;
  const range = view.to - view.from;
  const steps = [];
  for (let power = 0; power < 7; power += 1) for (const base of [1, 2, 5]) steps.push(base * 10 ** power);
  for (const seconds of [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000]) steps.push(seconds * 1e6);
  const step = steps.find((one) => (wide * one) / range >= Math.min(78, wide / 3.2)) || range;
  const origin = data.run[0];
  const made = [];
  for (let at = Math.ceil((view.from - origin) / step) * step; at <= view.to - origin && made.length < 60; at += step) {
    const sign = at < 0 ? '−' : '';
    const label = make('span', '', at === 0 ? '0' : sign + duration(Math.abs(at)).replace(/(\.\d)0(?= )/, '$1').replace(/\.0+(?= )/, '').replace(/ 00 [sm]$/, ''));
    label.style.left = `${percent(at + origin)}%`;
    if ((percent(at + origin) / 100) * wide + label.textContent.length * 6.2 + 5 <= wide) made.push(label);
  }
  ruler.replaceChildren(...made);
  // The lines behind the bars: one gradient, moved to where the first label is.
  const first = percent(Math.ceil((view.from - origin) / step) * step + origin);
  const pixels = (step / range) * wide;
  rowsBox.style.setProperty('--step', `${pixels}px`);
  rowsBox.style.setProperty('--origin', `${(first / 100) * wide}px`);
}

function drawBrush() {
  const brush = document.querySelector('.brush');
  const total = extent[1] - extent[0];
  brush.style.left = `${((view.from - extent[0]) / total) * 100}%`;
  brush.style.width = `${((view.to - view.from) / total) * 100}%`;
}

function drawOverview() {
  const canvas = document.querySelector('.overview canvas');
  const scale = devicePixelRatio || 1;
  const wide = Math.max(Math.floor(canvas.clientWidth * scale), 1);
  const high = Math.max(Math.floor(canvas.clientHeight * scale), 1);
  canvas.width = wide;
  canvas.height = high;
  const busy = new Float64Array(wide + 1);
  const bad = new Uint8Array(wide + 1);
  const at = (when) => ((when - extent[0]) / (extent[1] - extent[0])) * wide;
  for (const node of nodes) {
    const [from, to] = [Math.max(at(node.start), 0), Math.min(Math.max(at(node.end), at(node.start) + 0.5), wide)];
    for (let x = Math.floor(from); x < to; x += 1) busy[x] += Math.min(to, x + 1) - Math.max(from, x);
    if (node.failed) bad[Math.min(Math.floor(to), wide - 1)] = 1;
  }
  const most = busy.reduce((a, b) => Math.max(a, b), 1);
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext('2d');
  pen.fillStyle = style.getPropertyValue('--compute');
  pen.globalAlpha = 0.75;
  for (let x = 0; x < wide; x += 1) if (busy[x] > 0) { const tall = Math.max((busy[x] / most) * high * 0.82, scale); pen.fillRect(x, high - tall, 1, tall); }
  pen.globalAlpha = 1;
  pen.fillStyle = style.getPropertyValue('--bad');
  for (let x = 0; x < wide; x += 1) if (bad[x]) pen.fillRect(Math.max(x - scale, 0), 0, 2 * scale, high);
}

function zoomTo(from, to) {
  const least = Math.min(20, extent[1] - extent[0]);
  let wide = Math.min(Math.max(to - from, least), extent[1] - extent[0]);
  let begin = Math.min(Math.max(from, extent[0]), extent[1] - wide);
  if (!Number.isFinite(begin)) [begin, wide] = [extent[0], extent[1] - extent[0]];
  view.from = begin;
  view.to = begin + wide;
  drawRuler();
  drawBrush();
  drawRows();
}

function zoomBy(factor, centre = (view.from + view.to) / 2) {
  zoomTo(centre - (centre - view.from) * factor, centre + (view.to - centre) * factor);
}
const pan = (share) => zoomTo(view.from + (view.to - view.from) * share, view.to + (view.to - view.from) * share);
const zoomToRun = () => zoomTo(data.run[0], Math.max(data.run[1], data.run[0] + 20));

function toggle(span) {
  if (!span.children.length) return;
  if (view.query || view.only) return;
  if (folded.has(span.id)) folded.delete(span.id);
  else folded.add(span.id);
  layRows();
}

function reveal(span, centre = false) {
  const index = view.rows.findIndex((row) => row.span === span);
  if (index < 0) return;
  const top = index * HEIGHT;
  const high = rowsBox.clientHeight;
  if (centre) rowsBox.scrollTop = top - high / 2;
  else if (top < rowsBox.scrollTop) rowsBox.scrollTop = top;
  else if (top + HEIGHT > rowsBox.scrollTop + high) rowsBox.scrollTop = top + HEIGHT - high;
}

function pick(span, { open = true } = {}) {
  view.picked = span;
  reveal(span);
  drawRows();
  highlight(span);
  if (open) detail(span);
}

// Mark the node that is meant in the graph and in the table, too.
function highlight(span) {
  const node = span.kind === 'node' || span.kind === 'namespace' ? span : span.parent;
  for (const marked of document.querySelectorAll('.box.picked, #figures tr.picked')) marked.classList.remove('picked');
  if (!node) return;
  for (const box of document.querySelectorAll('#drawing .box')) if (box.spans.includes(node) || (node.members && node.members.length === box.spans.length && node.members.every((one) => box.spans.includes(one)))) box.classList.add('picked');
  for (const row of document.querySelectorAll('#figures tbody tr')) if (row.span === node) row.classList.add('picked');
}

// Show a span from elsewhere in the page: clear what hides it, unfold what is above it, and, unless one wants to stay, go there.
function visit(span, { stay = false } = {}) {
  view.query = '';
  view.only = '';
  byId('search').value = '';
  byId('only').value = '';
  for (let at = span.parent; at; at = at.parent) folded.delete(at.id);
  if (span.end < view.from || span.start > view.to) zoomTo(extent[0], extent[1]);
  layRows();
  pick(span);
  reveal(span, true);
  drawRows();
  if (stay) return;
  byId('timeline').scrollIntoView({ block: 'start' });
  rowsBox.focus({ preventScroll: true });
}

function detail(span) {
  const box = byId('detail');
  const list = make('dl');
  const say = (term, value) => {
    if (value === '' || value === undefined || value === null) return;
    const one = make('div');
    const shown = make('dd');
    shown.append(make('bdi', '', String(value)));
    one.append(make('dt', '', term), shown);
    list.append(one);
  };
  const title = { namespace: 'Namespace', node: 'Node', dataset: span.what === 'save' ? 'Save' : 'Load', foreign: 'Span', run: 'Run', command: 'Command' }[span.kind];
  const head = make('h3', '', `${title} `);
  head.append(make('bdi', '', span.label));
  say(span.kind === 'namespace' ? 'Time of its nodes' : 'Took', duration(span.took));
  say('Began', `${duration(Math.abs(span.start - data.run[0]))} ${span.start < data.run[0] ? 'before' : 'into'} the run · ${clock(span.start)}`);
  if (span.kind === 'node') {
    say('Load, compute, save, hooks', `${duration(span.load)}, ${duration(span.compute)}, ${duration(span.save)}, ${duration(span.hooks)}`);
    say('Share of the run', `${((span.took / Math.max(data.run[1] - data.run[0], 1)) * 100).toFixed(1)} %${span.critical ? ' · on the critical path' : ''}`);
    say('Function', span.func);
    say('File', span.file);
    say('Namespace', span.namespace);
    say('Tags', span.tags.join(', '));
    say('Inputs', span.inputs.join(', '));
    say('Outputs', span.outputs.join(', '));
  }
  if (span.members) say('Nodes', span.members.length.toLocaleString('en'));
  say('Type', span.type);
  if (data.pids.span.length > 1) say('Process', span.pid);
  say('State', span.state === 'ended' ? (span.failed ? 'failed' : '') : { open: 'still running', died: 'killed', unknown: 'end unknown' }[span.state]);
  if (span.failure) {
    say('Error', text(span.failure.type) === 'kedro_otel.process_died' ? 'the process was killed' : text(span.failure.type));
    say('At', text(span.failure.where));
  }
  const close = make('button', 'close', '✕');
  close.type = 'button';
  close.setAttribute('aria-label', 'Close details');
  close.addEventListener('click', () => { box.hidden = true; rowsBox.focus({ preventScroll: true }); });
  box.replaceChildren(head, list, ...(span.failure && span.failure.message ? [make('pre', '', span.failure.message)] : []), ...logButton(span), close);
  box.hidden = false;
}

function keys(event) {
  const at = view.rows.findIndex((row) => row.span === view.picked);
  const row = view.rows[at];
  const page = Math.max(Math.floor(rowsBox.clientHeight / HEIGHT) - 1, 1);
  const go = (index) => view.rows.length && pick(view.rows[Math.min(Math.max(index, 0), view.rows.length - 1)].span, { open: !byId('detail').hidden });
  const act = {
    ArrowDown: () => go(at + 1), ArrowUp: () => go(at < 0 ? 0 : at - 1), PageDown: () => go(at + page), PageUp: () => go(at - page),
    Home: () => go(0), End: () => go(view.rows.length - 1),
    ArrowRight: () => { if (event.shiftKey) pan(0.2); else if (row && row.inside && !row.open) toggle(row.span); else if (row && row.open) go(at + 1); },
    ArrowLeft: () => { if (event.shiftKey) pan(-0.2); else if (row && row.open && row.inside) toggle(row.span); else if (row && row.span.parent) go(view.rows.findIndex((one) => one.span === row.span.parent)); },
    Enter: () => row && detail(row.span), ' ': () => row && toggle(row.span), Escape: () => { byId('detail').hidden = true; },
    '+': () => zoomBy(0.6), '=': () => zoomBy(0.6), '-': () => zoomBy(1 / 0.6), 0: zoomToRun,
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}

function dragging(box, lane, onto) {
  box.addEventListener('pointerdown', (event) => {
    const edge = lane(event);
    if (!edge || event.button !== 0) return;
    const from = event.clientX;
    const mark = make('div', 'drag');
    let moved = false;
    const place = (x) => [Math.max(Math.min(from, x), edge.left), Math.min(Math.max(from, x), edge.right)];
    const move = (later) => {
      if (Math.abs(later.clientX - from) < 4 && !moved) return;
      if (!moved) { moved = true; box.append(mark); box.setPointerCapture(event.pointerId); }
      const [left, right] = place(later.clientX);
      const around = box.getBoundingClientRect();
      mark.style.left = `${left - around.left}px`;
      mark.style.width = `${right - left}px`;
      if (box === rowsBox) { mark.style.top = `${box.scrollTop}px`; mark.style.height = `${box.clientHeight}px`; }
    };
    const up = (later) => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', up);
      removeEventListener('pointercancel', up);
      mark.remove();
      const [left, right] = place(later.clientX);
      onto((left - edge.left) / edge.width, (right - edge.left) / edge.width, moved && right - left > 3);
      if (!moved) return;
      // The click that ends a drag picks no row.
      const swallow = (click) => click.stopPropagation();
      addEventListener('click', swallow, true);
      setTimeout(() => removeEventListener('click', swallow, true));
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', up);
    addEventListener('pointercancel', up);
  });
}

function startWaterfall() {
  byId('timeline').hidden = false;
  for (const [name, shown] of [['foreign', spans.some((one) => one.kind === 'foreign')], ['path', data.critical.length > 0], ['bad', spans.some((one) => one.failed)]]) {
    document.querySelector(`#timeline .key .${name}`).hidden = !shown;
  }
  if (!data.critical.length) byId('only').querySelector('[value=critical]').remove();
  if (!spans.some((one) => one.failed)) byId('only').querySelector('[value=failed]').remove();
  if (nodes.length <= 20) byId('only').querySelector('[value=slow]').remove();
  byId('whole').hidden = extent[1] - extent[0] <= (data.run[1] - data.run[0]) * 1.02;
  if (data.left_out) byId('hint').textContent = `To keep this file small, ${plural(data.left_out, 'load')}, saves and spans are not drawn one by one; all sums include them.`;
  foldByDefault();
  openWhatFits();
  [view.from, view.to] = [data.run[0], Math.max(data.run[1], data.run[0] + 20)];
  layRows();
  zoomToRun();
  drawOverview();
  let waiting = false;
  rowsBox.addEventListener('scroll', () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawRows(); });
  });
  rowsBox.addEventListener('keydown', keys);
  rowsBox.addEventListener('click', (event) => {
    const row = event.target.closest('.row');
    if (!row) return;
    const span = all[Number(row.id.slice(4))];
    view.picked = span;
    if (event.target.closest('.twist') || (span.kind === 'namespace' && event.target.closest('.name'))) toggle(span);
    pick(span);
  });
  rowsBox.addEventListener('dblclick', (event) => { if (event.target.closest('.lane')) zoomToRun(); });
  rowsBox.addEventListener('wheel', (event) => {
    const lane = event.target.closest('.lane');
    if (!lane || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const edge = lane.getBoundingClientRect();
    zoomBy(event.deltaY > 0 ? 1.25 : 0.8, view.from + ((event.clientX - edge.left) / edge.width) * (view.to - view.from));
  }, { passive: false });
  dragging(rowsBox, (event) => { const lane = event.pointerType !== 'touch' && event.target.closest('.lane'); return lane && lane.getBoundingClientRect(); },
    (from, to, far) => { if (far) zoomTo(view.from + from * (view.to - view.from), view.from + to * (view.to - view.from)); });
  dragging(byId('overview'), () => byId('overview').getBoundingClientRect(), (from, to, far) => {
    const total = extent[1] - extent[0];
    if (far) zoomTo(extent[0] + from * total, extent[0] + to * total);
    else { const half = (view.to - view.from) / 2; const centre = extent[0] + from * total; zoomTo(centre - half, centre + half); }
  });
  byId('search').addEventListener('input', (event) => { view.query = event.target.value.trim().toLowerCase(); rowsBox.scrollTop = 0; layRows(); });
  byId('only').addEventListener('change', (event) => { view.only = event.target.value; rowsBox.scrollTop = 0; layRows(); });
  byId('fold').addEventListener('click', () => { for (const span of all) if (span.children.length && !['command', 'run'].includes(span.kind)) folded.add(span.id); layRows(); });
  byId('unfold').addEventListener('click', () => { folded.clear(); layRows(); });
  byId('in').addEventListener('click', () => zoomBy(0.6));
  byId('out').addEventListener('click', () => zoomBy(1 / 0.6));
  byId('fit').addEventListener('click', zoomToRun);
  byId('whole').addEventListener('click', () => zoomTo(...extent));
}
