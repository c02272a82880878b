// A node or a dataset over the last runs: a bar for each, and a table.
const trends = { kind: 'node', name: '', limit: '50', sort: 'start', down: true };

function drawHistory(found) {
  const points = found.points.map((one) => ({ ...one, us: one.duration_seconds * 1e6, begin: Date.parse(one.start) }));
  const oldest = [...points].reverse();
  const has = (key) => points.some((one) => one[key] !== null);
  const parts = [];
  const add = (title, key, value, usual, say) => {
    const known = oldest.filter((one) => value(one) !== null);
    if (known.length) parts.push(make('h2', '', title), chart(known.map((one) => ({ value: value(one), outcome: one.outcome, start: one.start, out: one.stands_out[key] })), usual, say, `${title} in ${plural(known.length, 'run')}`));
  };
  add('Time', 'duration', (one) => one.us, found.usual_seconds === null ? 0 : found.usual_seconds * 1e6, duration);
  if (has('memory_bytes')) add('Memory', 'memory', (one) => one.memory_bytes, 0, bytes);
  if (has('rows')) add('Rows', 'rows', (one) => one.rows, 0, (rows) => plural(rows, 'row'));
  const columns = [
    { key: 'start', title: 'Run', head: true, look: 'words', value: (one) => one.begin, cell: (one) => { const link = make('a', '', when(one.start)); link.href = `/run/${one.id}`; return link; } },
    { key: 'outcome', title: 'Outcome', look: 'words', value: (one) => one.outcome, cell: (one) => word(one.outcome) },
    { key: 'us', title: 'Time', value: (one) => one.us, cell: (one) => make('span', '', duration(one.us), mark(one.stands_out.duration)) },
    ...(has('cpu_seconds') ? [{ key: 'cpu', title: 'Processor', value: (one) => one.cpu_seconds, cell: (one) => (one.cpu_seconds === null ? '–' : duration(one.cpu_seconds * 1e6)) }] : []),
    ...(has('memory_bytes') ? [{ key: 'memory', title: 'Memory', value: (one) => one.memory_bytes, cell: (one) => (one.memory_bytes === null ? '–' : make('span', '', bytes(one.memory_bytes), mark(one.stands_out.memory, 'more', 'less'))) }] : []),
    ...(has('loads') ? [['loads', 'Loads'], ['saves', 'Saves']].map(([key, title]) => ({ key, title, value: (one) => one[key], cell: (one) => (one[key] ? `${one[key]} × ${duration(one[`${key.slice(0, 4)}_seconds`] * 1e6)}` : '–') })) : []),
    ...(has('rows') ? [{ key: 'rows', title: 'Rows', value: (one) => one.rows, cell: (one) => (one.rows === null ? '–' : make('span', '', one.rows.toLocaleString('en'), mark(one.stands_out.rows, 'more', 'fewer'))) }] : []),
    { key: 'pipeline', title: 'Pipeline', look: 'words', value: (one) => one.pipeline ?? '', cell: (one) => named(one.pipeline ?? '–') },
    { key: 'revision', title: 'Commit', look: 'words', value: (one) => one.revision ?? '', cell: (one) => make('code', 'quiet', clean((one.revision ?? '–').slice(0, 9))) },
  ];
  const holder = make('div');
  const draw = () => holder.replaceChildren(sortable(columns, points, trends, `${found.kind} ${clean(found.name)} in each run`));
  trends.redraw = draw;
  draw();
  for (const one of found.flaky) parts.unshift(make('p', 'mark', `Flaky: failed ${one.failed} of ${one.failed + one.passed} times at commit ${clean(one.revision.slice(0, 9))}`));
  byId('answer').replaceChildren(...(points.length ? [...parts, holder] : [make('p', 'empty', 'Nothing of that name is in these runs.')]));
  setStatus(`${plural(points.length, 'run')} of ${clean(found.name)}`);
}

async function showHistory(main, kind, name) {
  if (kind) Object.assign(trends, { kind: kind === 'dataset' ? 'dataset' : 'node', name });
  const known = await ask('names', { project: app.project });
  const input = make('input');
  Object.assign(input, { id: 'name', type: 'search', value: trends.name, placeholder: 'Name of a node or dataset', autocomplete: 'off', spellcheck: false });
  input.setAttribute('list', 'names');
  const list = make('datalist');
  list.id = 'names';
  const kinds = choice('kind', [['node', 'Node'], ['dataset', 'Dataset']], trends.kind);
  const limits = choice('limit', ['20', '50', '100', '500'].map((one) => [one, `Last ${one} runs`]), trends.limit);
  const offer = () => list.replaceChildren(...known[`${kinds.value}s`].slice(0, 2000).map((one) => { const option = make('option'); option.value = one; return option; }));
  const go = async () => {
    Object.assign(trends, { kind: kinds.value, name: input.value, limit: limits.value });
    if (!input.value) return;
    const hash = `#/history/${trends.kind}/${encodeURIComponent(trends.name)}`;
    if (location.hash !== hash) history.replaceState(null, '', hash);
    drawHistory(await ask('history', { kind: trends.kind, name: trends.name, project: app.project, limit: trends.limit }));
  };
  const form = make('form', 'tools', field('Kind', kinds), field('Name', input, 'search'), list, field('Runs', limits), make('button', '', 'Show'));
  form.addEventListener('submit', (event) => { event.preventDefault(); go(); });
  kinds.addEventListener('change', () => { input.value = ''; offer(); });
  limits.addEventListener('change', go);
  input.addEventListener('change', () => { if (known[`${kinds.value}s`].includes(input.value)) go(); });
  const answer = make('div');
  answer.id = 'answer';
  const first = known.nodes.slice(0, 60);
  answer.append(make('h2', '', 'Nodes of the last runs'), make('ul', 'key', ...first.map((one) => { const link = make('a', '', named(one)); link.href = `#/history/node/${encodeURIComponent(one)}`; return make('li', '', link); })));
  if (!first.length) answer.replaceChildren(make('p', 'empty', 'No run is recorded yet.'));
  main.replaceChildren(make('section', 'card', form, answer));
  offer();
  if (trends.name && kind) await go();
}
