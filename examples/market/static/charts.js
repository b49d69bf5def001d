// What is drawn: the price of each trade in the last minutes, and the depth of the book.

/* global uPlot */

const FONT = '12px system-ui, sans-serif'
const AXIS_HEIGHT = 26
const KEPT = 5000 // trades of a symbol

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

function axis(options) {
  return {
    stroke: () => color('--quiet'),
    grid: { stroke: () => color('--grid'), width: 1 },
    ticks: { show: false },
    font: FONT,
    ...options,
  }
}

function plot(element, options, data) {
  const size = () => ({ width: element.clientWidth, height: element.clientHeight })
  const made = new uPlot({ ...size(), legend: { show: false }, ...options }, data, element)
  new ResizeObserver(() => made.setSize(size())).observe(element)
  // Its colours are read anew when it draws.
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => made.redraw(false, true))
  return made
}

const clockTime = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' })

export function formatTime(milliseconds) {
  return clockTime.format(milliseconds)
}

export class PriceChart {
  // `read(trade)` is called with the trade under the cursor, or null.
  constructor(element, seconds, read) {
    this.element = element
    this.seconds = seconds
    this.read = read
    this.clear()
    this.bands = []
    this.decimals = 2
    this.plot = plot(
      element,
      {
        padding: [8, 0, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
        scales: { x: { time: true, auto: false }, y: { range: { min: { pad: 0.1 }, max: { pad: 0.1 } } } },
        axes: [
          axis({ space: 90, size: AXIS_HEIGHT, values: (_, times) => times.map((time) => formatTime(time * 1000)) }),
          axis({ side: 1, size: 72, values: (_, prices) => prices.map((price) => this.format(price)) }),
        ],
        series: [{}, { stroke: () => color('--accent'), width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
        hooks: {
          drawClear: [() => this.drawBands()],
          setCursor: [({ cursor }) => this.point(cursor.idx)],
        },
      },
      [[], []],
    )
    element.addEventListener('keydown', (event) => this.press(event))
    element.addEventListener('blur', () => this.choose(null))
  }

  clear() {
    this.chosen = null // the trade that the keyboard has led to
    this.times = []
    this.prices = []
  }

  add(trade) {
    this.times.push(trade.time / 1000)
    this.prices.push(trade.price)
  }

  // When it was not connected, or did not read
  mark(band) {
    this.bands.push(band)
  }

  draw(now) {
    const from = now / 1000 - this.seconds
    const old = this.times.length - KEPT
    if (old > 0) {
      this.times.splice(0, old)
      this.prices.splice(0, old)
      if (this.chosen !== null) this.chosen = Math.max(0, this.chosen - old)
    }
    this.bands = this.bands.filter((band) => band.until / 1000 > from)
    // From the last trade before the left edge on
    const first = Math.max(0, this.times.findIndex((time) => time >= from) - 1)
    this.first = first
    const times = this.times.slice(first)
    const prices = this.prices.slice(first)
    if (prices.length) {
      times.push(now / 1000)
      prices.push(prices.at(-1))
    }
    this.plot.batch(() => {
      this.plot.setData([times, prices], false)
      this.plot.setScale('x', { min: from, max: now / 1000 })
    })
    if (this.chosen !== null) this.showChosen()
  }

  // In words
  describe(symbol) {
    const shown = this.prices.slice(this.first)
    if (!shown.length) return `${symbol}: no trades yet`
    const [low, high] = [Math.min(...shown), Math.max(...shown)].map((price) => this.format(price))
    const minutes = Math.round(this.seconds / 60)
    return `${symbol}, last ${minutes} minutes: ${this.format(shown[0])} to ${this.format(shown.at(-1))}, low ${low}, high ${high}`
  }

  format(price) {
    return price.toLocaleString('en', {
      minimumFractionDigits: this.decimals,
      maximumFractionDigits: this.decimals,
    })
  }

  // Where the mouse is
  point(index) {
    if (this.chosen !== null) return
    const isOn = index !== null && index !== undefined && this.times.length > 0
    this.tell(isOn ? Math.min(this.first + index, this.times.length - 1) : null)
  }

  press(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!step || !this.times.length) return
    event.preventDefault()
    const last = this.times.length - 1
    this.choose(Math.max(this.first, Math.min((this.chosen ?? last + 1) + step, last)))
  }

  choose(index) {
    this.chosen = index
    this.tell(index)
    if (index === null) this.plot.setCursor({ left: -10, top: -10 })
    else this.showChosen()
  }

  showChosen() {
    const left = this.plot.valToPos(this.times[this.chosen], 'x')
    this.plot.setCursor({ left: Math.max(0, left), top: 0 })
  }

  tell(index) {
    this.read(index === null ? null : { time: this.times[index] * 1000, price: this.prices[index] })
  }

  drawBands() {
    const { ctx, bbox } = this.plot
    ctx.save()
    for (const { from, until, label } of this.bands) {
      const left = Math.max(bbox.left, this.plot.valToPos(from / 1000, 'x', true))
      const right = Math.min(bbox.left + bbox.width, this.plot.valToPos(until / 1000, 'x', true))
      if (right <= left) continue
      ctx.fillStyle = color('--band')
      ctx.fillRect(left, bbox.top, right - left, bbox.height)
      ctx.fillStyle = color('--warn')
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`
      ctx.textBaseline = 'top'
      ctx.fillText(label, left + 4 * devicePixelRatio, bbox.top + 4 * devicePixelRatio)
    }
    ctx.restore()
  }
}

export class DepthChart {
  constructor(element) {
    const side = (name) => ({
      stroke: () => color(`--${name}`),
      fill: () => color(`--${name}-bar`),
      width: 1.5,
      paths: uPlot.paths.stepped({ align: name === 'bid' ? -1 : 1 }),
      points: { show: false },
    })
    this.element = element
    this.format = String
    this.plot = plot(
      element,
      {
        padding: [8, 0, 0, 0],
        cursor: { show: false },
        scales: { x: { time: false }, y: { range: (_, __, max) => [0, max * 1.05] } },
        axes: [
          axis({ space: 90, size: AXIS_HEIGHT, values: (_, prices) => prices.map((price) => this.format(price)) }),
          axis({ side: 1, size: 72, space: 30, values: (_, sizes) => sizes.map((size) => size.toLocaleString('en')) }),
        ],
        series: [{}, side('bid'), side('ask')],
      },
      [[], [], []],
    )
  }

  draw({ bids, asks }) {
    const sums = (levels) => {
      let sum = 0
      return levels.map(([, size]) => (sum += size))
    }
    const none = (levels) => levels.map(() => null)
    this.plot.setData([
      [...bids.map(([price]) => price).reverse(), ...asks.map(([price]) => price)],
      [...sums(bids).reverse(), ...none(asks)],
      [...none(bids), ...sums(asks)],
    ])
  }
}
