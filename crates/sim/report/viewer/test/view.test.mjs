// The page that `syncline view` writes, in a real browser without a window.
//
//   npm ci && SYNCLINE=../../../../../target/release/syncline npm test
//
// Screenshots are left in SHOTS, if that names a folder.
import assert from 'node:assert/strict';
import {execFileSync, spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {after, before, test} from 'node:test';
import {chromium} from 'playwright-core';

const syncline = path.resolve(process.env.SYNCLINE ?? '../../../../../target/release/syncline');
const folder = mkdtempSync(path.join(tmpdir(), 'syncline-view-'));
let browser;

before(async () => {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
});
after(async () => {
  await browser?.close();
  rmSync(folder, {recursive: true});
});

/** Writes the page of a run and opens it. Whatever it complains of, or asks of a network, fails the test. */
async function opened(t, name, flags, {width = 1280, height = 800, ...options} = {}) {
  const file = path.join(folder, name + '.html');
  const made = spawnSync(syncline, ['view', '--out', file, ...flags], {encoding: 'utf8'});
  assert.ok(made.status === 0 || made.status === 1, made.stderr);
  const context = await browser.newContext({viewport: {width, height}, ...options});
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', error => complaints.push(error.message));
  page.on('console', message => { if (message.type() === 'error') complaints.push(message.text()); });
  page.on('request', request => { if (!request.url().startsWith('file:')) complaints.push(request.url()); });
  await page.goto('file://' + file);
  await page.waitForFunction(() => document.getElementById('window').textContent.length > 0);
  t.after(async () => {
    if (process.env.SHOTS) await page.screenshot({path: path.join(process.env.SHOTS, name + '.png')});
    await context.close();
    assert.deepEqual(complaints, []);
  });
  return page;
}

const text = (page, selector) => page.locator(selector).innerText();

/** What is drawn beside the nodes' names: the look of the state that each has at the end of what is shown. */
const colours = page => page.evaluate(() => nodes.map((_, node) => {
  const ratio = window.devicePixelRatio || 1;
  return [...lanes.getContext('2d').getImageData(Math.round(5 * ratio), Math.round((laneY(node) - 4) * ratio), Math.round(8 * ratio), Math.round(8 * ratio)).data].join();
}));

const HEAVY = ['--seed', '42', '--faults', 'heavy'];
const DIVERGED = ['--seed', '7', '--faults', 'none', '--latency', '2000', '--max-time', '3500ms', '--writes', '5'];

test('a converged run shows one colour on all lanes in the end', async t => {
  const page = await opened(t, 'converged', HEAVY);
  assert.match(await text(page, '#title'), /seed 42.*CONVERGED/);
  assert.equal(new Set(await colours(page)).size, 1);
  await page.click('[data-tab=records]');
  assert.match(await text(page, '#records'), /every record is the same on all nodes/);
});

test('a run that did not converge shows lanes of different colours and the records that differ', async t => {
  const page = await opened(t, 'diverged', DIVERGED);
  assert.match(await text(page, '#title'), /NOT CONVERGED/);
  assert.ok(new Set(await colours(page)).size > 1);
  await page.click('[data-tab=records]');
  assert.match(await text(page, '#records'), /[1-9]\d* records differ/);
});

test('fifty states at once all look different, and what was written is shown in words', async t => {
  const page = await opened(t, 'states', ['--seed', '3', '--nodes', '50', '--entities', '4', '--writes', '100', '--write-for', '1s', '--latency', '2000', '--max-time', '1500ms'], {height: 1400});
  const shown = await page.evaluate(() => {
    const last = nodes.map((_, node) => digestAt(node, timeline.end));
    const drawn = new Set(last.map(digest => tiles[lookOf[digest]] ? tiles[lookOf[digest]].toDataURL() : looks[lookOf[digest]].color));
    return {states: new Set(last).size, drawn: drawn.size};
  });
  assert.ok(shown.states > 40, String(shown.states));
  assert.equal(shown.drawn, shown.states);
  await page.fill('#search', 'write');
  const rows = await page.locator('#events tr.row').allInnerTexts();
  assert.ok(rows.some(row => /accepted: (sets|adds|changes|inserts|deletes|makes|removes|freezes|merges) /.test(row)), rows[0]);
});

test('crashes and partitions are drawn and can be looked at', async t => {
  const page = await opened(t, 'crashes', [...HEAVY, '--crash', '0.01,300..900', '--partition', '0.01,300..900']);
  const drawn = await page.evaluate(() => [...new Set(spans.map(span => span.what))]);
  assert.ok(drawn.includes('down') && drawn.includes('partition'), String(drawn));
  await page.fill('#search', 'crash');
  assert.match(await text(page, '#events'), /crash/);
  await page.click('#events tr.row >> nth=0');
  assert.notEqual(await text(page, '#said'), '');
});

test('keys go from event to event, zoom, move and forget', async t => {
  const page = await opened(t, 'keys', HEAVY);
  await page.locator('#lanes').focus();
  await page.keyboard.press('n');
  const first = await page.evaluate(() => view.chosen);
  await page.keyboard.press('n');
  assert.ok(await page.evaluate(() => view.chosen) > first);
  assert.notEqual(await text(page, '#inspect'), '');
  for (const key of ['+', '+', 'ArrowRight']) await page.keyboard.press(key);
  const width = await page.evaluate(() => (view.to - view.from) / span);
  assert.ok(width > 0.2 && width < 0.3, String(width));
  assert.ok(await page.evaluate(() => view.from > 0));
  await page.keyboard.press('f');
  assert.ok(await page.evaluate(() => view.from === 0 && view.to === span));
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => view.chosen), -1);
  await page.keyboard.press('?');
  assert.ok(await page.locator('#help').isVisible());
});

test('a click on a message shows what it was, and a click on a name what touches that node', async t => {
  const page = await opened(t, 'click', HEAVY);
  const at = await page.evaluate(() => {
    const i = frames.sent.findIndex((_, i) => isDelivered(i));
    setWindow(frames.sent[i] - 5e3, frames.end[i] + 5e3);
    return i;
  });
  await page.waitForTimeout(100);
  const point = await page.evaluate(i => {
    const box = lanes.getBoundingClientRect();
    return [box.left + (timeX(frames.sent[i]) * .3 + timeX(frames.end[i]) * .7), box.top + laneY(frames.from[i]) * .3 + laneY(frames.to[i]) * .7];
  }, at);
  await page.mouse.click(...point);
  assert.match(await text(page, '#inspect'), /message[\s\S]*from[\s\S]*fate/);
  const name = await page.evaluate(() => { const box = lanes.getBoundingClientRect(); return [box.left + 30, box.top + laneY(1)]; });
  await page.mouse.click(...name);
  await page.click('[data-tab=events]');
  const rows = await page.locator('#events tr.row').allInnerTexts();
  const own = await page.evaluate(() => nodes[1].name);
  assert.ok(rows.length > 0 && rows.every(row => row.includes(own) || row.includes('all')), rows[0]);
});

test('search and filters narrow both the list and the diagram', async t => {
  const page = await opened(t, 'filters', HEAVY);
  await page.fill('#search', 'alice lost');
  const rows = await page.locator('#events tr.row').allInnerTexts();
  assert.ok(rows.length > 0 && rows.every(row => row.includes('alice') && row.includes('lost')), rows[0]);
  await page.keyboard.press('Escape');
  await page.keyboard.press('l');
  assert.ok(await page.evaluate(() => passing().list.every(item => items.sort[item] !== FRAME || !isDelivered(items.at[item]))));
});

test('fifty nodes and a hundred thousand events can be walked through', async t => {
  const page = await opened(t, 'large', ['--seed', '3', '--nodes', '50', '--entities', '4', '--writes', '700', '--write-for', '20s', '--faults', 'heavy', '--max-time', '120s']);
  const count = await page.evaluate(() => items.count);
  assert.ok(count >= 100_000, String(count));
  assert.match(await text(page, '#window'), /zoom in for all/);
  for (let i = 0; i < 9; i++) await page.click('[data-do=in]');
  await page.waitForTimeout(200);
  assert.doesNotMatch(await text(page, '#window'), /zoom in for all/);
  await page.click('[data-tab=events]');
  assert.match(await text(page, '#events'), /page 1 of \d/);
  await page.click('#events button >> nth=1');
  assert.match(await text(page, '#events'), /page 2 of \d/);
  assert.equal(await page.locator('#events tr.row').count(), 200);
});

test('a narrow screen needs no sideways scrolling, light or dark', async t => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await opened(t, 'narrow-' + colorScheme, HEAVY, {width: 390, height: 850, colorScheme});
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
  }
});

test('text of a run is shown as text, whatever is in it', async t => {
  const page = await opened(t, 'text', ['--seed', '1', '--title', '</script><img src=x onerror=alert(1)>&']);
  assert.match(await text(page, '#title'), /<\/script><img src=x onerror=alert\(1\)>&/);
  assert.equal(await page.locator('img').count(), 0);
});

test('other programs can read the timeline', () => {
  const run = format => execFileSync(syncline, ['view', '--format', format, '--out', '-', ...HEAVY], {encoding: 'utf8', maxBuffer: 1 << 28});
  const {traceEvents} = JSON.parse(run('perfetto'));
  const names = traceEvents.filter(event => event.name === 'process_name').map(event => event.args.name);
  assert.deepEqual(names, ['alice', 'bob', 'carol']);
  const begun = new Set(traceEvents.filter(event => event.ph === 's').map(event => event.id));
  assert.ok(begun.size > 0 && traceEvents.filter(event => event.ph === 'f').every(event => begun.has(event.id)));
  const [pattern, , ...lines] = run('shiviz').split('\n');
  const each = new RegExp(pattern.replaceAll('?<', '?<'), 'y');
  const log = lines.join('\n');
  let count = 0;
  for (let match; (match = each.exec(log)); count++) {
    JSON.parse(match.groups.clock);
    each.lastIndex++;
  }
  assert.ok(count > 100, String(count));
});
