// Which page is shown follows from the address's end: #/, #/history/KIND/NAME, #/compare/A/B, #/live/RUN.
const app = {
  page: '',
  project: '',
  leave: () => {},
  projects(found) {
    const chosen = byId('project').value || found.project;
    const names = [...new Set([...found.projects, found.project])].filter((one) => one && one !== '*');
    const wantedNow = [...names, '*'].join('\n');
    if (app.listed === wantedNow) return;
    app.listed = wantedNow;
    const select = choice('project', [...names.map((one) => [one, one]), ['*', 'All projects']], chosen);
    byId('project').replaceChildren(...select.children);
    byId('project').value = chosen;
  },
};
const PAGES = { runs: ['Runs', showRuns], history: ['Trends', showHistory], compare: ['Two runs', showCompare], live: ['A run while it runs', showLive] };

async function show(moved) {
  const [name, ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  const page = PAGES[name] ? name : 'runs';
  app.leave();
  app.leave = () => {};
  app.page = page;
  const [title, start] = PAGES[page];
  delete document.documentElement.dataset.ready;
  byId('title').textContent = title;
  document.title = `${title} · kedro-otel`;
  for (const link of document.querySelectorAll('nav a')) { if (link.dataset.page === page) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current'); }
  try {
    await start(byId('main'), ...rest);
    if (!app.listed) app.projects(await ask('runs', { limit: 1 }));
  } catch (error) {
    byId('main').replaceChildren(make('section', 'card', make('p', 'slower', clean(error.message || 'The server does not answer.'))));
  }
  if (moved) byId('title').focus({ preventScroll: true });
  if (page !== 'live') document.documentElement.dataset.ready = 'true';
}

byId('project').addEventListener('change', (event) => { app.project = event.target.value; runs.picked.clear(); show(false); });
document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); byId('main').focus(); });
addEventListener('hashchange', () => show(true));
show(false);
