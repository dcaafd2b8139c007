// Draws the diagram: an overview of the whole run, and one lane per node for the visible window of time.

const overview = document.getElementById('overview');
const lanes = document.getElementById('lanes');
const LABELS = 108, AXIS = 22, LEAST_LANE = 15;
/** The most frames drawn at once. Beyond it, the window shows every n-th frame and says so. */
const MOST_FRAMES = 12000;

const span = Math.max(1, timeline.end);
const view = {from: 0, to: span, top: 0, chosen: -1, hover: -1, node: -1, thinned: 0};

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fitted(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const {clientWidth: width, clientHeight: height} = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return {pen, width, height};
}

const laneHeight = () => Math.max(LEAST_LANE, (lanes.clientHeight - AXIS - 6) / nodes.length);
const laneY = node => AXIS + 3 + (node + .5) * laneHeight() - view.top;
const timeX = t => LABELS + (t - view.from) / (view.to - view.from) * (lanes.clientWidth - LABELS - 6);
const xTime = x => view.from + (x - LABELS) / (lanes.clientWidth - LABELS - 6) * (view.to - view.from);
const hiddenLanes = () => Math.max(0, nodes.length * laneHeight() + AXIS + 6 - lanes.clientHeight);

/** The step between ticks of the time axis that leaves room for their labels. */
function axisStep() {
  const least = (view.to - view.from) * 90 / Math.max(120, lanes.clientWidth - LABELS);
  let step = 1;
  while (step < least) for (const factor of [2, 2.5, 2]) { if (step < least) step *= factor; }
  return Math.max(1, Math.round(step));
}

function drawAxis(pen, width, height) {
  const step = axisStep();
  pen.fillStyle = css('--faint');
  pen.strokeStyle = css('--line');
  pen.lineWidth = 1;
  pen.font = '11px system-ui, sans-serif';
  pen.textAlign = 'center';
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    const x = timeX(t);
    pen.beginPath(); pen.moveTo(x, AXIS - 4); pen.lineTo(x, height); pen.stroke();
    pen.fillText(time(t), Math.max(LABELS + 16, Math.min(x, width - 24)), 12);
  }
}

/** The nodes that a span concerns: one node, or all. */
const spanNodes = one => one.node === null ? nodes.map((_, node) => node) : [one.node];
const SPAN_STYLE = {down: '#b3261e', away: '#8c6bb1', partition: '#d55e00', pause: '#7f8fa6'};

function drawSpans(pen, flags) {
  const height = laneHeight();
  spans.forEach((one, i) => {
    if (one.to < view.from || one.from > view.to || !flags[itemOf[SPAN][i]] || one.what === 'session') return;
    const x = Math.max(LABELS, timeX(one.from)), end = Math.min(timeX(one.to), lanes.clientWidth);
    const colour = SPAN_STYLE[one.what] || GREY;
    for (const node of spanNodes(one)) {
      const y = laneY(node) - height / 2;
      pen.globalAlpha = one.what === 'partition' ? .12 : .28;
      pen.fillStyle = colour;
      pen.fillRect(x, y + 1, Math.max(1, end - x), height - 2);
      pen.globalAlpha = .8;
      pen.strokeStyle = colour;
      pen.setLineDash(one.what === 'partition' ? [2, 3] : []);
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x, y + height); pen.moveTo(end, y); pen.lineTo(end, y + height); pen.stroke();
      pen.setLineDash([]);
    }
    pen.globalAlpha = 1;
    if (end - x > 44 && height > 20) {
      pen.fillStyle = colour; pen.textAlign = 'left'; pen.font = '10px system-ui, sans-serif';
      pen.fillText(one.what, x + 3, laneY(spanNodes(one)[0]) - height / 2 + 10);
    }
  });
}

function drawStrips(pen) {
  const thick = Math.max(4, Math.min(9, laneHeight() * .22));
  timeline.digests.forEach(({t, d}, node) => {
    const y = laneY(node);
    if (y < AXIS - 10 || y > lanes.clientHeight + 10) return;
    for (let i = Math.max(0, lowerBound(t, view.from + 1) - 1); i < t.length && t[i] <= view.to; i++) {
      const x = Math.max(LABELS, timeX(t[i]));
      const end = Math.min(lanes.clientWidth - 6, timeX(i + 1 < t.length ? t[i + 1] : span));
      pen.fillStyle = digestFill(pen, d[i]);
      pen.fillRect(x, y - thick / 2, Math.max(1, end - x), thick);
      const label = digestLabel(d[i]);
      if (end - x > 9 * label.length + 6 && laneHeight() > 26) {
        pen.fillStyle = css('--faint'); pen.font = '10px ui-monospace, monospace'; pen.textAlign = 'left';
        const text = end - x > 84 ? `${label} ${timeline.digestNames[d[i]].slice(0, 8)}` : label;
        pen.fillText(text, x + 3, y + thick / 2 + 10);
      }
    }
  });
}

const isDelivered = i => frames.fate[i] === 0;
/** Whether a fate is expected in a healthy run: a suppressed duplicate, or a frame in flight. */
const isHarmless = i => timeline.harmless[frames.fate[i]];

function drawFrame(pen, i, strong) {
  const x = timeX(frames.sent[i]), y = laneY(frames.from[i]);
  let toX = timeX(frames.end[i]), toY = laneY(frames.to[i]);
  const delivered = isDelivered(i);
  const onWay = !delivered && timeline.lostOnWay[frames.fate[i]];
  // A frame lost on its way ends before the lane of its receiver.
  if (onWay) { toX = x + Math.max(6, (toX - x) * .6); toY = y + (toY - y) * .6; }
  pen.strokeStyle = delivered ? kindColour(frames.kind[i]) : isHarmless(i) ? GREY : '#b3261e';
  pen.lineWidth = strong ? 2.5 : 1;
  pen.setLineDash(delivered ? [] : [4, 3]);
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(toX, toY); pen.stroke();
  pen.setLineDash([]);
  if (isHarmless(i)) return;
  if (!delivered) {
    pen.beginPath();
    pen.moveTo(toX - 3, toY - 3); pen.lineTo(toX + 3, toY + 3); pen.moveTo(toX - 3, toY + 3); pen.lineTo(toX + 3, toY - 3);
    pen.stroke();
  } else if (strong || view.thinned < 800) {
    const angle = Math.atan2(toY - y, toX - x);
    pen.fillStyle = pen.strokeStyle;
    pen.beginPath(); pen.moveTo(toX, toY);
    for (const turn of [2.7, -2.7]) pen.lineTo(toX + 7 * Math.cos(angle + turn), toY + 7 * Math.sin(angle + turn));
    pen.fill();
  }
}

function drawFrames(pen, flags) {
  const list = [];
  framesBetween(view.from, view.to, i => { if (flags[itemOf[FRAME][i]]) list.push(i); });
  const every = Math.ceil(list.length / MOST_FRAMES);
  view.thinned = list.length;
  pen.globalAlpha = Math.max(.25, Math.min(.9, 700 / list.length));
  // Losses are rare and matter most: all of them are drawn, on top of the rest.
  list.forEach((i, at) => { if ((isDelivered(i) || isHarmless(i)) && at % every === 0) drawFrame(pen, i, false); });
  pen.globalAlpha = Math.max(.45, Math.min(.9, 700 / list.length));
  list.forEach(i => { if (!isDelivered(i) && !isHarmless(i)) drawFrame(pen, i, false); });
  pen.globalAlpha = 1;
  return {all: list.length, drawn: every > 1 ? Math.ceil(list.length / every) : list.length};
}

const MARK_SHAPE = {write: 'square', crash: 'cross', restart: 'triangle', leave: 'bar', return: 'triangle', join: 'triangle'};

function drawMark(pen, mark, strong) {
  const x = timeX(mark.t);
  const size = strong ? 7 : 4;
  for (const node of spanNodes(mark)) {
    const y = laneY(node);
    pen.fillStyle = pen.strokeStyle = mark.what === 'crash' || mark.bad ? '#b3261e' : css('--front');
    pen.lineWidth = 2;
    pen.beginPath();
    switch (MARK_SHAPE[mark.what]) {
      case 'square': pen.rect(x - size / 2, y - size / 2, size, size); pen.fill(); break;
      case 'cross':
        pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size);
        pen.moveTo(x + size, y - size); pen.lineTo(x - size, y + size); pen.stroke(); break;
      case 'triangle': pen.moveTo(x, y - size); pen.lineTo(x + size, y + size); pen.lineTo(x - size, y + size); pen.fill(); break;
      default: pen.moveTo(x, y - size); pen.lineTo(x, y + size); pen.stroke();
    }
  }
}

function drawMarks(pen, flags) {
  // One mark of each kind per pixel of a lane: more cannot be told apart.
  const seen = new Set();
  marks.forEach((mark, i) => {
    if (mark.t < view.from || mark.t > view.to || !flags[itemOf[MARK][i]]) return;
    const place = `${mark.node} ${mark.what} ${Math.round(timeX(mark.t) / 2)}`;
    if (!seen.has(place)) { seen.add(place); drawMark(pen, mark, false); }
  });
}

function drawLabels(pen, height) {
  pen.fillStyle = css('--back');
  pen.fillRect(0, 0, LABELS - 4, height);
  pen.font = '12px system-ui, sans-serif'; pen.textAlign = 'left';
  nodes.forEach((node, at) => {
    const y = laneY(at);
    if (y < AXIS || y > height) return;
    pen.fillStyle = at === view.node ? css('--accent') : css('--front');
    // The role in brackets behind the name of a node is drawn on a second line.
    const [name, what] = node.name.split(' (');
    [name, ...(what ? ['(' + what] : [])].forEach((line, row) => {
      pen.fillText(line.length > 13 ? line.slice(0, 12) + '…' : line, 18, y + 4 + 15 * row);
    });
    pen.fillStyle = digestFill(pen, digestAt(at, view.to));
    pen.fillRect(4, y - 5, 10, 10);
  });
}

function drawChosen(pen) {
  for (const item of new Set([view.hover, view.chosen])) {
    if (item < 0) continue;
    const at = items.at[item];
    if (items.sort[item] === FRAME) drawFrame(pen, at, true);
    else if (items.sort[item] === MARK) drawMark(pen, marks[at], true);
  }
  const forensics = timeline.forensics;
  if (forensics && forensics.at !== null && forensics.at >= view.from && forensics.at <= view.to) {
    const x = timeX(forensics.at);
    pen.strokeStyle = css('--bad'); pen.lineWidth = 2; pen.setLineDash([6, 3]);
    pen.beginPath(); pen.moveTo(x, AXIS - 4); pen.lineTo(x, lanes.clientHeight); pen.stroke();
    pen.setLineDash([]);
  }
}

function drawLanes() {
  const {pen, width, height} = fitted(lanes);
  const {flags} = passing();
  view.top = Math.min(view.top, hiddenLanes());
  drawAxis(pen, width, height);
  pen.save();
  pen.beginPath(); pen.rect(LABELS - 4, AXIS - 6, width, height); pen.clip();
  drawSpans(pen, flags);
  drawStrips(pen);
  const {all, drawn} = drawFrames(pen, flags);
  drawMarks(pen, flags);
  drawChosen(pen);
  pen.restore();
  drawLabels(pen, height);
  const thinned = drawn < all ? `, ${grouped(drawn)} drawn: zoom in for all` : '';
  document.getElementById('window').textContent =
    `${time(Math.round(view.from))} to ${time(Math.round(view.to))}: ${grouped(all)} messages${thinned}`;
}

/** Draws the overview. Above: the number of distinct states over time. Below: the load of the network. */
let overviewData = null;
function overviewColumns(width) {
  if (overviewData && overviewData.width === width) return overviewData;
  const busy = new Float64Array(width), lost = new Float64Array(width), states = new Uint32Array(width);
  frames.sent.forEach((t, i) => {
    const x = Math.min(width - 1, t / span * width | 0);
    busy[x]++;
    if (!isDelivered(i) && !isHarmless(i)) lost[x]++;
  });
  for (let x = 0; x < width; x++) {
    const seen = new Set();
    for (let node = 0; node < nodes.length; node++) seen.add(digestAt(node, (x + 1) / width * span));
    seen.delete(-1);
    states[x] = seen.size;
  }
  return overviewData = {width, busy, lost, states};
}

function drawOverview() {
  const {pen, width, height} = fitted(overview);
  const {busy, lost, states} = overviewColumns(Math.max(1, Math.floor(width)));
  const most = busy.reduce((a, b) => Math.max(a, b), 1);
  for (let x = 0; x < busy.length; x++) {
    const bar = busy[x] / most * (height - 12);
    pen.fillStyle = GREY; pen.fillRect(x, height - bar, 1, bar);
    const bad = lost[x] / most * (height - 12);
    pen.fillStyle = '#b3261e'; pen.fillRect(x, height - bad, 1, bad);
    pen.fillStyle = states[x] <= 1 ? '#009e73' : `hsl(35 90% ${Math.max(35, 62 - states[x] * 3)}%)`;
    pen.fillRect(x, 0, 1, 8);
  }
  const from = view.from / span * width, to = view.to / span * width;
  pen.fillStyle = css('--accent'); pen.globalAlpha = .16; pen.fillRect(from, 0, Math.max(2, to - from), height);
  pen.globalAlpha = 1; pen.strokeStyle = css('--accent'); pen.lineWidth = 1.5;
  pen.strokeRect(from + .75, .75, Math.max(2, to - from - 1.5), height - 1.5);
}

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; drawLanes(); drawOverview(); });
}
