(() => {
'use strict';
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const form = document.getElementById('filters');
const tip = document.getElementById('tip');
const boards = all('.board');
const SELECTS = ['mode', 'probe', 'arch', 'from', 'to'];
const FIRST = {mode: document.body.dataset.mode, probe: document.body.dataset.probe, arch: document.body.dataset.arch};
let sort = {key: 'rank', down: false};

// The state of the page is in its address: only what differs from the first view.
function read() {
  const asked = new URLSearchParams(location.search);
  for (const name of SELECTS) {
    const field = form.elements[name];
    if (!field) continue;
    const wanted = asked.get(name) ?? FIRST[name] ?? '';
    field.value = wanted;
    if (field.value !== wanted) field.value = field.options[0].value;
  }
  form.elements.q.value = asked.get('q') ?? '';
  if (form.elements.tasks) form.elements.tasks.checked = asked.get('tasks') === '1';
  const methods = new Set((asked.get('method') ?? '').split(',').filter(Boolean));
  for (const box of all('input[name=method]', form)) box.checked = methods.has(box.value);
  const [key, way] = (asked.get('sort') ?? 'rank').split('~');
  sort = {key, down: way === 'down'};
}

function write() {
  const state = new URLSearchParams();
  for (const name of SELECTS) {
    const field = form.elements[name];
    if (field && field.value !== (FIRST[name] ?? '')) state.set(name, field.value);
  }
  if (form.elements.q.value) state.set('q', form.elements.q.value);
  if (form.elements.tasks && form.elements.tasks.checked) state.set('tasks', '1');
  const methods = chosen();
  if (methods.size) state.set('method', [...methods].join(','));
  if (sort.key !== 'rank' || sort.down) state.set('sort', sort.key + (sort.down ? '~down' : ''));
  const text = state.toString();
  history.replaceState(null, '', location.pathname + (text ? '?' + text : '') + location.hash);
}

const chosen = () => new Set(all('input[name=method]:checked', form).map(box => box.value));
const value = name => (form.elements[name] ? form.elements[name].value : '');

function keeps() {
  const methods = chosen();
  const low = value('from') === '' ? -Infinity : Number(value('from')) - 1e-9;
  const high = value('to') === '' ? Infinity : Number(value('to')) + 1e-9;
  const part = form.elements.q.value.trim().toLowerCase();
  return (method, sparsity, name) => {
    const s = sparsity === '' ? NaN : Number(sparsity);
    const inside = (low === -Infinity && high === Infinity) || (s >= low && s <= high);
    return inside && (!methods.size || methods.has(method)) && name.toLowerCase().includes(part);
  };
}

function apply() {
  const keep = keeps();
  const is = (name, own) => !form.elements[name] || value(name) === 'all' || own === '' || own === value(name);
  let entries = 0, total = 0, shown = 0;
  const visible = new Map();
  for (const board of boards) {
    const selected = is('mode', board.dataset.mode) && is('probe', board.dataset.probe) && is('arch', board.dataset.arch);
    const rows = new Map();
    let own = 0;
    for (const row of all('tbody tr[data-row]', board)) {
      row.hidden = !keep(row.dataset.method, row.dataset.s, row.querySelector('th').dataset.v);
      if (!row.hidden) own += 1;
      rows.set(row.dataset.row, row);
    }
    board.hidden = !selected || own === 0;
    if (selected) total += rows.size;
    if (!board.hidden) { entries += own; shown += 1; }
    visible.set(board.id, rows);
  }
  for (const chart of all('.chart')) {
    const rows = visible.get(chart.dataset.board);
    const board = document.getElementById(chart.dataset.board);
    if (chart.closest('#tasks')) chart.hidden = board.hidden;
    draw(chart, row => !rows.get(row).hidden);
  }
  for (const entry of all('#checkpoints .entry')) {
    entry.hidden = !keep(entry.dataset.method, entry.dataset.s, entry.dataset.name);
  }
  order();
  document.body.classList.toggle('notasks', !(form.elements.tasks && form.elements.tasks.checked));
  document.getElementById('none').hidden = shown > 0;
  document.getElementById('count').textContent =
    `${entries} of ${total} entries, ${shown} of ${boards.length} ${boards.length === 1 ? 'table' : 'tables'}. The address holds this view: copy it to share.`;
}

// Marks that are filtered out leave lines and Pareto front to the others.
const place = mark => mark.getAttribute('transform').match(/-?[\d.]+/g).map(Number);
const path = points => points.length ? 'M' + points.map(p => p.join(' ')).join('L') : 'M0 0';

function draw(chart, keep) {
  const marks = all('.plot .mark', chart);
  for (const mark of marks) mark.classList.toggle('off', !keep(mark.dataset.row));
  for (const mark of marks) mark.style.display = mark.classList.contains('off') ? 'none' : '';
  const left = marks.filter(mark => !mark.classList.contains('off'));
  for (const line of all('.line', chart)) {
    const own = left.filter(mark => mark.dataset.series === line.dataset.series).map(place);
    own.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    line.setAttribute('d', own.length > 1 ? path(own) : 'M0 0');
  }
  const front = chart.querySelector('.front');
  if (!front) return;
  const sign = front.dataset.better === 'left' ? 1 : -1;
  const points = left.map(place).sort((a, b) => sign * (a[0] - b[0]) || a[1] - b[1]);
  const best = [];
  for (const point of points) {
    const before = best[best.length - 1];
    if (before && point[1] >= before[1]) continue;
    if (before) best.push([point[0], before[1]]);
    best.push(point);
  }
  front.setAttribute('d', path(best));
}

// Tables that are not shown are sorted when they are.
const sorted = new Map();
function order() {
  const wanted = `${sort.key}~${sort.down}`;
  for (const board of boards) {
    if (board.hidden || sorted.get(board) === wanted) continue;
    sorted.set(board, wanted);
    const head = all('thead th', board);
    const at = head.findIndex(cell => cell.dataset.sort === sort.key);
    for (const cell of head) cell.removeAttribute('aria-sort');
    if (at < 0) continue;
    head[at].setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
    const words = ['name', 'method', 'verdict'].includes(sort.key);
    const body = board.querySelector('tbody');
    const rows = all('tr', body).map(row => ({row, place: Number(row.dataset.row), key: row.cells[at].dataset.v ?? ''}));
    const sign = sort.down ? -1 : 1;
    rows.sort((a, b) => (a.key === '') - (b.key === '') ||
      sign * (words ? a.key.localeCompare(b.key, 'en', {numeric: true}) : a.key - b.key) || a.place - b.place);
    body.append(...rows.map(item => item.row));
  }
}

for (const cell of all('.board th[data-sort]')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.append(...cell.childNodes);
  cell.append(button);
  button.addEventListener('click', () => {
    const key = cell.dataset.sort;
    const downFirst = !['rank', 'name', 'method', 'verdict', 'error', 'size', 'sparsity'].includes(key);
    sort = {key, down: sort.key === key ? !sort.down : downFirst};
    order();
    write();
  });
}

// What a mark is: read from its row in the table.
function describe(mark, chart) {
  const board = document.getElementById(chart.dataset.board);
  const row = board.querySelector(`tbody tr[data-row="${mark.dataset.row}"]`);
  const lines = [];
  const columns = ['sparsity', 'accuracy', 'error', 'upstream', 'size', 'speed'];
  if (chart.dataset.column) columns.unshift(chart.dataset.column);
  for (const key of columns) {
    const head = all('thead th', board).find(cell => cell.dataset.sort === key);
    const field = head && row.cells[head.cellIndex];
    if (field && field.dataset.v) lines.push([head.textContent, field.textContent]);
    if (key === 'error' && row.querySelector('.ci').textContent) lines.push(['95 % interval', row.querySelector('.ci').textContent]);
  }
  return {title: row.querySelector('th').dataset.v, sub: row.querySelector('.method').textContent, lines, link: row.querySelector('a').hash};
}

function show(content, x, y) {
  tip.replaceChildren();
  const title = document.createElement('b');
  title.textContent = content.title;
  tip.append(title);
  if (content.sub) tip.append(content.sub);
  for (const [label, text] of content.lines ?? []) {
    const line = document.createElement('div');
    for (const part of [label, text]) line.append(Object.assign(document.createElement('span'), {textContent: part}));
    tip.append(line);
  }
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(6, y - box.height - 12) : y + 18}px`;
}

function hide() {
  tip.hidden = true;
  for (const mark of all('.mark.on')) mark.classList.remove('on');
}

const inside = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());

function layer(svg, event) {
  const at = Math.floor((inside(svg, event).x - Number(svg.dataset.left)) / Number(svg.dataset.step));
  const row = all('tbody tr', svg.closest('.entry').querySelector('.inner'))[at];
  if (!row) return null;
  const [name, weights, share] = [...row.cells].map(cell => cell.textContent);
  return {title: name, lines: [['Weights', weights], ['Held at zero, %', share]]};
}

const rates = new WeakMap();
function pair(svg, event) {
  const box = svg.closest('.matrixbox');
  if (!rates.has(box)) rates.set(box, Uint8Array.from(atob(box.dataset.rates), c => c.charCodeAt(0)));
  const rows = box.dataset.rows.split(' ');
  const point = inside(svg, event);
  const column = Math.floor((point.x - Number(svg.dataset.left)) / Number(svg.dataset.cell));
  const line = Math.floor(point.y / Number(svg.dataset.cell));
  if (column < 0 || line < 0 || column >= rows.length || line >= rows.length || column === line) return null;
  const board = document.getElementById(box.dataset.board);
  const name = row => board.querySelector(`tbody tr[data-row="${row}"] th`).dataset.v;
  const rate = rates.get(box)[line * rows.length + column];
  return {title: name(rows[line]), sub: `more accurate than ${name(rows[column])} on ${rate} % of the tasks`};
}

document.addEventListener('pointermove', event => {
  const target = event.target instanceof Element ? event.target : null;
  const mark = target && target.closest('.plot .mark');
  const chart = mark && mark.closest('.chart');
  const matrix = target && target.closest('.matrix');
  const layers = target && target.closest('.layers');
  const content = chart ? describe(mark, chart) : matrix ? pair(matrix, event) : layers ? layer(layers, event) : null;
  if (content) show(content, event.clientX, event.clientY);
  else if (!(document.activeElement && document.activeElement.matches('.chart'))) hide();
});

document.addEventListener('click', event => {
  const mark = event.target instanceof Element && event.target.closest('.chart .plot .mark');
  if (mark) location.hash = describe(mark, mark.closest('.chart')).link;
});

// The keyboard's way through a chart: arrows go from mark to mark, Enter to its section.
for (const chart of all('.chart')) {
  if (!chart.querySelector('.plot')) continue;
  chart.tabIndex = 0;
  chart.setAttribute('role', 'group');
  chart.setAttribute('aria-label', `${chart.querySelector('.plot').getAttribute('aria-label')}. Arrow keys go from entry to entry.`);
  let at = -1;
  chart.addEventListener('keydown', event => {
    if (event.target !== chart) return;
    const marks = all('.plot .mark:not(.off)', chart).sort((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1]);
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (event.key === 'Escape') return hide();
    if (event.key === 'Enter' && marks[at]) { location.hash = describe(marks[at], chart).link; return; }
    if (!step || !marks.length) return;
    event.preventDefault();
    at = (at + step + marks.length) % marks.length;
    hide();
    marks[at].classList.add('on');
    const box = marks[at].getBoundingClientRect();
    show(describe(marks[at], chart), box.right, box.bottom);
  });
  chart.addEventListener('blur', hide);
}

function reveal() {
  let id = location.hash.slice(1);
  try { id = decodeURIComponent(id); } catch { return; }
  const target = document.getElementById(id);
  if (!target) return;
  target.hidden = false;
  for (let part = target; part; part = part.parentElement) if (part instanceof HTMLDetailsElement) part.open = true;
  target.scrollIntoView();
}

form.addEventListener('input', () => { apply(); write(); });
form.addEventListener('submit', event => event.preventDefault());
form.addEventListener('reset', event => {
  event.preventDefault();
  history.replaceState(null, '', location.pathname + location.hash);
  read(); apply();
});
addEventListener('hashchange', reveal);
addEventListener('scroll', hide, {passive: true});

form.hidden = false;
read();
apply();
if (location.hash) reveal();
})();
