// Two runs side by side, and what each node and dataset took in one and the other.
const sides = { sort: 'difference', down: true, only: false, shown: 500 };

async function showCompare(main, before, after) {
  const found = await ask('compare', { a: before, b: after });
  const side = (title, one, id, outcome) => {
    const link = make('a', '', when(one.start));
    link.href = `/run/${id}`;
    return make('div', '', make('dt', '', title), make('dd', '', duration(one.duration_seconds * 1e6), make('small', '', link, ' · ', word(outcome))));
  };
  const run = found.run;
  const whole = found.outcomes.every((one) => one === 'ok');
  const change = make('div', '', make('dt', '', 'Difference'), !whole ? make('dd', '', '–', make('small', '', 'Only nodes that completed are compared')) : make('dd', ['slower', 'faster'].includes(run.verdict) ? run.verdict : '', signed(run.difference_seconds * 1e6), make('small', '', run.relative === null ? '' : `${(run.relative * 100).toFixed(0)} %`)));
  const facts = make('dl', 'sides', side('Before', found.before, before, found.outcomes[0]), side('After', found.after, after, found.outcomes[1]), change);
  const holder = make('div');
  const rows = ['node', 'dataset'].flatMap((kind) => found[`${kind}s`].map((one) => ({ ...one, kind })));
  const taken = (seconds) => (seconds === null ? '–' : duration(seconds * 1e6));
  const columns = [
    { key: 'name', title: 'Name', head: true, look: 'words', value: (one) => one.name, cell: (one) => { const link = make('a', '', named(one.name)); link.href = `#/history/${one.kind}/${encodeURIComponent(one.name)}`; return link; }, hint: (one) => one.name },
    { key: 'kind', title: 'Kind', look: 'words', value: (one) => one.kind, cell: (one) => one.kind },
    { key: 'before', title: 'Before', value: (one) => one.before_seconds, cell: (one) => taken(one.before_seconds) },
    { key: 'after', title: 'After', value: (one) => one.after_seconds, cell: (one) => taken(one.after_seconds) },
    { key: 'difference', title: 'Difference', value: (one) => Math.abs(one.difference_seconds), cell: (one) => signed(one.difference_seconds * 1e6) },
    { key: 'verdict', title: '', look: 'words', cell: (one) => (one.verdict === 'same' ? '' : make('span', one.verdict, clean(one.verdict))) },
  ];
  const draw = () => {
    const shown = sides.only ? rows.filter((one) => one.verdict !== 'same') : rows;
    const rest = make('p', 'hint', `The first ${sides.shown} of ${shown.length.toLocaleString('en')} are shown, as they are sorted.`);
    rest.hidden = shown.length <= sides.shown;
    holder.replaceChildren(rest, shown.length ? sortable(columns, shown, sides, 'Nodes and datasets, before and after') : make('p', 'empty', 'No node and no dataset differs by more than runs usually do.'));
  };
  sides.redraw = draw;
  const box = make('input');
  Object.assign(box, { type: 'checkbox', id: 'only', checked: sides.only });
  box.addEventListener('change', () => { sides.only = box.checked; draw(); });
  const data = make('section', 'card notice', make('h2', '', 'What is different about the data'), make('ul', '', ...found.told_of_data.map((one) => make('li', '', named(one)))));
  data.hidden = !found.told_of_data.length;
  main.replaceChildren(make('section', 'card', facts), data, make('section', 'card', make('div', 'tools', make('label', '', box, ' Only what differs by more than runs usually do')), holder));
  draw();
}
