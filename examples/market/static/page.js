// The page: what comes from the feed is noted at once and drawn with the next frame.

import { DepthChart, PriceChart, formatTime } from './charts.js'

const SYMBOLS = { 'BTC-USD': 2, 'ETH-USD': 2, 'SOL-USD': 2 } // decimals of their prices
const SHOWN = 120 // seconds of trades
const LEVELS = 10 // of each side of the book
const ROWS = 24 // trades in the table
const EVENTS = 100
const STALL = 10_000 // milliseconds
const LEAVE = 5_000
// Milliseconds between two frames
const FRAME = matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : 50
const DESCRIPTION = 10_000 // milliseconds between two descriptions of the charts in words

const at = (id) => document.getElementById(id)
const feed = new Worker('feed.js')
const price = new PriceChart(at('price-plot'), SHOWN, read)
const depth = new DepthChart(at('depth-plot'))

let symbol = null
let book = null
let offset = null // the server's clock minus this one
const trades = new Map(Object.keys(SYMBOLS).map((each) => [each, []])) // newest last
const changed = { book: false, trades: false }

// What comes

feed.onmessage = ({ data }) => {
  if (data.news) takeNews(data)
  if (data.numbers) showNumbers(data.numbers)
  if (data.state) showState(data)
  if (data.event) tell(data.event)
  if (data.band) price.mark(data.band)
}

function takeNews({ news, at: now }) {
  offset = now - Date.now()
  if (news.book) {
    book = news.book
    changed.book = true
  }
  for (const trade of news.trades) {
    const list = trades.get(trade.symbol)
    // Not the one after the last one: what is here has a hole, or is of another life.
    if (!trade.isNext) list.length = 0
    list.push(trade)
    if (trade.symbol !== symbol) continue
    if (!trade.isNext) price.clear()
    price.add(trade)
    changed.trades = true
  }
  news.prices.forEach(showPrice)
}

// What is drawn

let drawnAt = 0
let describedAt = -Infinity

function frame(time) {
  requestAnimationFrame(frame)
  if (time - drawnAt < FRAME || offset === null) return
  drawnAt = time
  price.draw(Date.now() + offset)
  if (changed.book) {
    depth.draw(book)
    showBook()
  }
  if (changed.trades) showTrades()
  changed.book = changed.trades = false
  if (book && time - describedAt > DESCRIPTION) describe(time)
}

function describe(time) {
  describedAt = time
  at('price-plot').ariaLabel = price.describe(symbol)
  const share = (levels) => levels.reduce((sum, [, size]) => sum + size, 0)
  const [bids, asks] = [share(book.bids), share(book.asks)].map((size) => format(size, 0))
  at('depth-plot').ariaLabel = `${symbol}: ${bids} bid and ${asks} offered in all`
}

const percent = new Intl.NumberFormat('en', {
  style: 'percent',
  signDisplay: 'exceptZero',
  minimumFractionDigits: 2,
})

function format(number, decimals) {
  return number.toLocaleString('en', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  })
}

function rowsOf(body, count) {
  while (body.rows.length < count) {
    const row = body.insertRow()
    for (let cell = 0; cell < 3; cell++) row.insertCell()
  }
  return [...body.rows]
}

function fill(row, texts) {
  texts.forEach((text, index) => {
    if (row.cells[index].textContent !== text) row.cells[index].textContent = text
  })
}

function showBook() {
  const decimals = SYMBOLS[symbol]
  const side = (levels) => {
    let total = 0
    return levels.slice(0, LEVELS).map(([each, size]) => [each, size, (total += size)])
  }
  const [bids, asks] = [side(book.bids), side(book.asks)]
  const largest = Math.max(bids.at(-1)[2], asks.at(-1)[2])
  const show = (body, levels) => {
    rowsOf(body, levels.length).forEach((row, index) => {
      const [each, size, total] = levels[index]
      fill(row, [format(each, decimals), format(size, 3), format(total, 3)])
      row.style.setProperty('--share', `${((100 * total) / largest).toFixed(1)}%`)
    })
  }
  show(at('asks'), asks.reverse())
  show(at('bids'), bids)
  at('spread').textContent = format(asks.at(-1)[0] - bids[0][0], decimals)
}

function showTrades() {
  const latest = trades.get(symbol).slice(-ROWS).reverse()
  rowsOf(at('trade-rows'), latest.length).forEach((row, index) => {
    const { time, price: paid, size, side } = latest[index] ?? {}
    if (time === undefined) {
      row.remove()
      return
    }
    const isBuy = side === 'buy'
    fill(row, [formatTime(time), `${isBuy ? '▲' : '▼'} ${format(paid, SYMBOLS[symbol])}`, format(size, 3)])
    row.cells[1].className = isBuy ? 'up' : 'down'
  })
}

function showPrice({ symbol: of, price: middle, change }) {
  const label = at(of)
  if (!label) return
  label.querySelector('.price').textContent = format(middle, SYMBOLS[of])
  const element = label.querySelector('.change')
  element.textContent = percent.format(change)
  element.className = `change ${change < 0 ? 'down' : 'up'}`
  if (of === symbol) document.title = `${format(middle, SYMBOLS[of])} ${of}`
}

function showNumbers(numbers) {
  const milliseconds = (value) => (value === null ? '–' : `${value.toFixed(1)} ms`)
  at('messages').textContent = `${format(numbers.messages, 0)} /s`
  at('data').textContent = `${format(numbers.bytes / 1000, 0)} kB/s`
  at('latency').textContent = milliseconds(numbers.latency)
  at('worst').textContent = numbers.worst === null ? '' : `max ${numbers.worst.toFixed(0)}`
  at('round-trip').textContent = milliseconds(numbers.roundTrip)
  for (const id of ['conflated', 'recovered', 'missed']) {
    at(id).textContent = format(numbers[id], 0)
  }
  const { gateway, viewers } = numbers
  if (!gateway || !book) return
  const others = viewers === 1 ? 'nobody else' : `${viewers - 1} ${viewers === 2 ? 'other' : 'others'}`
  at('served').textContent = `Published by ${book.by}, served by ${gateway} to you and ${others}.`
}

function read(trade) {
  const text = trade ? `${formatTime(trade.time)}  ${price.format(trade.price)}` : ''
  if (at('reading').textContent !== text) at('reading').textContent = text
}

// States and events

const STATES = {
  connecting: 'Connecting',
  live: 'Live',
  silent: 'No news',
  stalled: 'Stalled',
  away: 'Disconnected',
}

function showState({ state }) {
  const element = at('state')
  if (element.dataset.state === state) return
  element.dataset.state = state
  element.textContent = STATES[state]
}

function tell(text) {
  const item = document.createElement('p')
  const time = document.createElement('time')
  time.textContent = formatTime(Date.now())
  item.append(time, ` ${text}`)
  const log = at('log')
  log.append(item)
  if (log.childElementCount > EVENTS) log.firstElementChild.remove()
  log.scrollTop = log.scrollHeight
}

function watch(chosen) {
  symbol = chosen
  book = null
  price.decimals = SYMBOLS[symbol]
  depth.format = (each) => price.format(each)
  changed.book = false
  describedAt = -Infinity
  price.clear()
  trades.get(symbol).forEach((trade) => price.add(trade))
  changed.trades = true
  feed.postMessage({ watch: symbol })
}

// Buttons are left focusable while they do nothing, so that a keyboard does not lose its place.
function press(button, milliseconds, begin) {
  const text = button.textContent
  button.addEventListener('click', () => {
    if (button.ariaDisabled === 'true') return
    begin()
    const buttons = [at('stall'), at('leave')]
    buttons.forEach((each) => { each.ariaDisabled = 'true' })
    const until = Date.now() + milliseconds
    const count = () => {
      const left = Math.ceil((until - Date.now()) / 1000)
      if (left > 0) {
        button.textContent = `${left} s`
        return
      }
      clearInterval(timer)
      button.textContent = text
      buttons.forEach((each) => { each.ariaDisabled = 'false' })
    }
    const timer = setInterval(count, 200)
    count()
  })
}

press(at('stall'), STALL, () => {
  feed.postMessage({ stall: STALL })
  showState({ state: 'stalled' })
})
press(at('leave'), LEAVE, () => feed.postMessage({ leave: LEAVE }))

for (const each of Object.keys(SYMBOLS)) {
  const label = document.createElement('label')
  label.id = each
  label.innerHTML = `<input type="radio" name="symbol" value="${each}"><b>${each}</b>
    <span class="price">–</span><span class="change">–</span>`
  label.firstChild.addEventListener('change', () => watch(each))
  at('symbols').append(label)
}
// A screen reader says what the keyboard reads, and nothing of what the mouse passes over.
at('price-plot').addEventListener('focus', () => { at('reading').ariaLive = 'polite' })
at('price-plot').addEventListener('blur', () => { at('reading').ariaLive = 'off' })

document.querySelector('#symbols input').click()
requestAnimationFrame(frame)
