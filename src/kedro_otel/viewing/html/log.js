// The log lines, under the node that logged them: searched, of one node or of all, so many at a time.
const logs = JSON.parse(byId('logs').textContent);
const LINES = 500;
const log = { of: '', query: '', shown: LINES };
logs.groups.forEach((group, index) => { if (nodes[group.node]) nodes[group.node].log = index; });

const wordOf = (number) => (number < 0 ? '' : logs.strings[number]);

function drawLogLine([, ms, level, logger, message]) {
  const word = wordOf(level);
  const line = make('div', `line ${word === 'WARNING' ? 'careful' : ['ERROR', 'CRITICAL'].includes(word) ? 'bad' : ''}`);
  const body = make('span', 'said');
  body.append(make('bdi', '', message));
  line.append(make('span', 'when', timeOfDay(ms)), make('span', 'level', word), make('span', 'logger', wordOf(logger)), body);
  return line;
}

function drawLog() {
  const made = document.createDocumentFragment();
  let found = 0;
  logs.groups.forEach((group, index) => {
    if (log.of !== '' && Number(log.of) !== index) return;
    const lines = group.lines.filter((line) => !log.query || `${wordOf(line[2])} ${wordOf(line[3])} ${line[4]}`.toLowerCase().includes(log.query));
    if (!lines.length) return;
    const room = Math.max(log.shown - found, 0);
    found += lines.length;
    if (!room) return;
    const head = make('h3');
    const label = make('bdi', '', group.name);
    if (nodes[group.node]) {
      const button = make('button');
      button.type = 'button';
      button.append(label);
      button.addEventListener('click', () => visit(nodes[group.node]));
      head.append(button);
    } else head.append(label);
    made.append(head);
    let before = 0;
    for (const line of lines.slice(0, room)) {
      if (!log.query && line[0] > before + 1) made.append(make('div', 'gap', `… ${plural(line[0] - before - 1, 'line')} left out …`));
      before = line[0];
      made.append(drawLogLine(line));
    }
  });
  byId('log-lines').replaceChildren(made);
  byId('log-count').textContent = plural(found, 'line');
  const more = byId('log-more');
  more.hidden = found <= log.shown;
  more.textContent = `Show ${Math.min(LINES, found - log.shown).toLocaleString('en')} more of ${found.toLocaleString('en')}`;
}

// A button for the details of a span that has log lines.
function logButton(span) {
  if (span.log === undefined) return [];
  const button = make('button', 'to-log', 'Show its log lines');
  button.type = 'button';
  button.addEventListener('click', () => {
    Object.assign(log, { of: String(span.log), query: '', shown: LINES });
    byId('log-of').value = log.of;
    byId('log-search').value = '';
    drawLog();
    byId('log').scrollIntoView({ block: 'start' });
    byId('log-lines').focus({ preventScroll: true });
  });
  return [button];
}

function startLog() {
  if (!logs.groups.length) return;
  byId('log').hidden = false;
  logs.groups.forEach((group, index) => {
    const option = make('option', '', group.name);
    option.value = index;
    byId('log-of').append(option);
  });
  byId('log-of').addEventListener('change', (event) => { Object.assign(log, { of: event.target.value, shown: LINES }); drawLog(); });
  byId('log-search').addEventListener('input', (event) => { Object.assign(log, { query: event.target.value.trim().toLowerCase(), shown: LINES }); drawLog(); });
  byId('log-more').addEventListener('click', () => { log.shown += LINES; drawLog(); });
  drawLog();
}
