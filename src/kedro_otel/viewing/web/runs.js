// The runs of a project: a table to filter, sort and search, two of which can be put side by side.
const runs = { data: null, search: '', outcome: '', pipeline: '', sort: 'begin', down: true, shown: 100, limit: 200, picked: new Set(), timer: 0 };
const place = (one) => [one.task, one.ephemeral ? 'container or CI' : '', one.environment, `pid ${one.pid}`].filter(Boolean).join(' · ');
const problem = (one) => [one.error_type?.split('.').pop(), one.error_where, one.message].filter(Boolean).join(' · ');

function wanted(one) {
  const words = `${one.pipeline ?? ''} ${one.command ?? ''} ${one.outcome} ${problem(one)} ${one.revision ?? ''} ${one.run_id ?? ''} ${one.trace_id} ${place(one)}`.toLowerCase();
  return (!runs.outcome || one.outcome === runs.outcome) && (!runs.pipeline || one.pipeline === runs.pipeline)
    && runs.search.toLowerCase().split(/\s+/).every((part) => words.includes(part));
}

function pick(one) {
  if (one.run === null) return '';
  const box = make('input');
  box.type = 'checkbox';
  box.checked = runs.picked.has(one.id);
  box.setAttribute('aria-label', `Compare the run of ${when(one.start)}`);
  box.addEventListener('change', () => {
    if (box.checked) runs.picked.add(one.id); else runs.picked.delete(one.id);
    drawCompare();
  });
  return box;
}

function drawCompare() {
  const button = byId('compare');
  button.disabled = runs.picked.size !== 2;
  button.textContent = runs.picked.size === 2 ? 'Compare the two' : `Compare: pick ${2 - Math.min(runs.picked.size, 2)} more`;
  if (runs.picked.size > 2) button.textContent = 'Compare: pick only two';
}

function drawRuns() {
  const found = runs.data.runs.filter(wanted);
  const longest = {};
  for (const one of runs.data.runs) longest[one.pipeline] = Math.max(longest[one.pipeline] ?? 1, one.took);
  const several = new Set(runs.data.runs.map((one) => one.project)).size > 1;
  const columns = [
    { key: 'pick', title: 'Compare', hidden: true, cell: pick },
    { key: 'begin', title: 'Began', head: true, look: 'words', value: (one) => one.begin, cell: (one) => { const link = make('a', '', when(one.start)); link.href = one.outcome === 'running' ? `#/live/${one.id}` : `/run/${one.id}`; return link; } },
    { key: 'outcome', title: 'Outcome', look: 'words', value: (one) => one.outcome, cell: (one) => word(one.outcome) },
    { key: 'took', title: 'Time', value: (one) => one.took, cell: (one) => make('span', '', one.outcome === 'unknown' ? '?' : duration(one.took), mark(one.stands_out)) },
    { key: 'bar', title: '', look: 'bar', cell: (one) => bar(one.took / longest[one.pipeline], one.outcome) },
    ...(runs.data.runs.some((one) => one.memory_bytes !== null) ? [{ key: 'memory', title: 'Memory', value: (one) => one.memory_bytes, cell: (one) => (one.memory_bytes === null ? '–' : bytes(one.memory_bytes)) }] : []),
    { key: 'pipeline', title: 'Pipeline', look: 'words', value: (one) => one.pipeline ?? '', cell: (one) => named(one.pipeline ?? '–') },
    ...(several ? [{ key: 'project', title: 'Project', look: 'words', value: (one) => one.project ?? '', cell: (one) => named(one.project ?? '–') }] : []),
    ...(found.some(problem) ? [{ key: 'error', title: 'What went wrong', look: 'error', cell: (one) => (problem(one) ? named(problem(one)) : ''), hint: problem }] : []),
    { key: 'command', title: 'Command', look: 'command', value: (one) => one.command ?? '', cell: (one) => named(one.command ?? 'in Python'), hint: (one) => one.command },
    { key: 'place', title: 'Where', look: 'words', value: place, cell: (one) => named(place(one), 'quiet') },
    { key: 'revision', title: 'Commit', look: 'words', value: (one) => one.revision ?? '', cell: (one) => make('code', 'quiet', clean((one.revision ?? '–').slice(0, 9))) },
  ];
  runs.redraw = drawRuns;
  byId('table').replaceChildren(found.length ? sortable(columns, found, runs, 'Runs') : make('p', 'empty', runs.data.runs.length ? 'No run is like that.' : 'Nothing is recorded yet: type kedro run in a project.'));
  const all = runs.data.runs.length;
  byId('count').textContent = found.length === all ? plural(all, 'run') : `${found.length} of ${plural(all, 'run')}`;
  const more = byId('more');
  const older = runs.data.read >= runs.limit && runs.limit < 2000;
  more.hidden = found.length <= runs.shown && !older;
  more.textContent = found.length > runs.shown ? `Show all ${found.length}` : 'Read older runs';
  const timed = found.filter((one) => one.run !== null && one.outcome !== 'unknown').sort((a, b) => a.begin - b.begin).slice(-100)
    .map((one) => ({ value: one.took, outcome: one.outcome, start: one.start, out: one.stands_out }));
  byId('trend').replaceChildren(...(timed.length > 1 ? [chart(timed, 0, duration, `How long ${plural(timed.length, 'run')} took`)] : []));
  drawCompare();
}

function drawFlaky() {
  const found = runs.data.flaky;
  byId('flaky').hidden = !found.length;
  byId('flaky').replaceChildren(make('h2', '', 'Flaky nodes'), make('ul', '', ...found.map((one) => {
    const link = make('a', '', named(one.node));
    link.href = `#/history/node/${encodeURIComponent(one.node)}`;
    return make('li', '', link, ` failed ${one.failed} of ${one.failed + one.passed} times at commit `, make('code', '', clean(one.revision.slice(0, 9))));
  })));
}

function drawFilters() {
  const pipelines = [...new Set(runs.data.runs.map((one) => one.pipeline).filter(Boolean))].sort();
  if (!pipelines.includes(runs.pipeline)) runs.pipeline = '';
  const outcomes = ['ok', 'failed', 'killed', 'interrupted', 'running', 'unknown'];
  byId('filters').replaceChildren(
    field('Outcome', choice('outcome', [['', 'Every outcome'], ...outcomes.map((one) => [one, one])], runs.outcome)),
    field('Pipeline', choice('pipeline', [['', 'Every pipeline'], ...pipelines.map((one) => [one, one])], runs.pipeline)),
  );
  for (const name of ['outcome', 'pipeline']) byId(name).addEventListener('change', (event) => { runs[name] = event.target.value; drawRuns(); });
}

async function readRuns() {
  const before = runs.data && JSON.stringify(runs.data.runs.map((one) => [one.id, one.outcome, one.took]));
  runs.data = await ask('runs', { project: app.project, limit: runs.limit });
  app.projects(runs.data);
  return JSON.stringify(runs.data.runs.map((one) => [one.id, one.outcome, one.took])) !== before;
}

async function showRuns(main) {
  const search = make('input');
  Object.assign(search, { id: 'search', type: 'search', placeholder: 'Search command, pipeline, error, commit', value: runs.search, autocomplete: 'off', spellcheck: false });
  search.addEventListener('input', () => { runs.search = search.value.trim(); runs.shown = 100; drawRuns(); });
  const compare = make('button', '', 'Compare');
  Object.assign(compare, { id: 'compare', type: 'button' });
  compare.addEventListener('click', () => {
    const [a, b] = runs.data.runs.filter((one) => runs.picked.has(one.id)).sort((x, y) => x.begin - y.begin);
    location.hash = `#/compare/${a.id}/${b.id}`;
  });
  const filters = make('span', 'tools');
  filters.id = 'filters';
  const count = make('output');
  count.id = 'count';
  const tools = make('div', 'tools', field('Search the runs', search, 'search'), filters, compare, count);
  const parts = ['flaky', 'trend', 'table'].map((id) => { const made = make('div', id === 'flaky' ? 'card notice' : ''); made.id = id; return made; });
  parts[0].hidden = true;
  const more = make('button');
  Object.assign(more, { id: 'more', type: 'button', hidden: true });
  more.addEventListener('click', async () => {
    if (byId('table').querySelectorAll('tbody tr').length >= runs.shown) runs.shown = Infinity;
    else { runs.limit = Math.min(runs.limit * 5, 2000); runs.shown = Infinity; await readRuns(); drawFilters(); }
    drawRuns();
  });
  await readRuns();
  main.replaceChildren(parts[0], make('section', 'card', tools, parts[1], parts[2], more));
  drawFilters();
  drawFlaky();
  drawRuns();
  const again = async () => {
    if (app.page !== 'runs') return;
    try { if (!document.hidden && await readRuns() && app.page === 'runs' && !byId('table').contains(document.activeElement)) { drawFlaky(); drawRuns(); } } catch { setStatus('The server does not answer.'); }
    runs.timer = setTimeout(again, 2000);
  };
  clearTimeout(runs.timer);
  runs.timer = setTimeout(again, 2000);
}
