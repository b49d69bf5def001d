// The connection to the gateway, in a worker: what the page draws cannot delay it, and it can be
// stalled while the page goes on.
//
// From the page: {watch: SYMBOL}, {stall: MILLISECONDS}, {leave: MILLISECONDS}.
// To the page: {state}, {event}, {band: {from, until, label}} when there is one, {news: {book, trades,
// prices}} at most every FLUSH milliseconds, and every second {numbers}.

const FLUSH = 50
const SECOND = 1000
const SILENCE = 2 // seconds without news, after which what is shown may be old
const FRESH = 250 // milliseconds; a message that is older has waited somewhere
const PAUSES = [500, 8000] // milliseconds between two attempts to connect: the first, the longest

const url = new URL('feed', location.href)
url.protocol = url.protocol.replace('http', 'ws')

let ws = null
let symbol = null
let pause = PAUSES[0]
let lastId = 0
const waiting = new Map() // what to do with a reply, by its id

// By symbol, the last trade that came: {offset, epoch}
const positions = new Map()
let lastBook = null // {by, number}
const asked = new Map() // by symbol, what is counted from asking for it to the reply: {trades}
let leftAt = null // when the last connection ended
let stall = null // what is counted from the beginning of a stall until the news are fresh again

// The server's clock minus this one, by the reply that came back fastest.
const clock = { offset: 0, roundTrip: Infinity }

const totals = { conflated: 0, recovered: 0, missed: 0 }
let second = { messages: 0, bytes: 0 }
let latencies = []
let silence = 0
let roundTrip = null
let status = {}
let news = emptyNews()

function emptyNews() {
  return { book: null, trades: [], prices: [] }
}

function serverNow() {
  return performance.timeOrigin + performance.now() + clock.offset
}

// Connecting

function connect() {
  postMessage({ state: 'connecting' })
  ws = new WebSocket(url)
  ws.onopen = () => {
    pause = PAUSES[0]
    clock.roundTrip = Infinity // it may be another gateway
    lastBook = null
    silence = 0
    postMessage({ state: 'live' })
    askStatus()
    if (symbol) watch()
  }
  ws.onmessage = ({ data }) => take(data)
  ws.onclose = ({ code }) => {
    // Attempts that fail are not told each.
    if (leftAt === null) postMessage({ event: `Disconnected (code ${code})` })
    forgetConnection()
    // After a random time: when a gateway ends, its clients must not come back in the same moment.
    comeBack(pause * (0.5 + Math.random()))
    pause = Math.min(pause * 2, PAUSES[1])
  }
}

function forgetConnection() {
  ws = null
  waiting.clear()
  asked.clear()
  stall = null
  leftAt ??= serverNow()
}

function comeBack(delay) {
  postMessage({ state: 'away' })
  setTimeout(connect, delay)
}

function request(message, onReply) {
  if (ws?.readyState !== WebSocket.OPEN) return
  lastId += 1
  if (onReply) waiting.set(lastId, onReply)
  ws.send(JSON.stringify({ id: lastId, ...message }))
}

// Asking

function watch() {
  const watched = symbol
  const since = positions.get(watched) ?? null
  const counted = { trades: 0 }
  asked.set(watched, counted)
  request({ watch: watched, since }, ({ recovered, offset, epoch }) => {
    const { trades } = counted
    const count = `${trades} ${trades === 1 ? 'trade' : 'trades'}`
    // Nothing may have been traded yet.
    if (!positions.has(watched)) positions.set(watched, { offset, epoch })
    if (recovered) totals.recovered += trades
    if (asked.get(watched) === counted) asked.delete(watched)
    const now = serverNow()
    const what = recovered ? `${count} recovered` : `${count} of the history`
    if (leftAt === null) {
      postMessage({ event: `${watched}: ${what}` })
    } else {
      const event = `Away for ${inSeconds(now - leftAt)}: ${what}`
      postMessage({ event, band: { from: leftAt, until: now, label: 'away' } })
      leftAt = null
    }
  })
}

function inSeconds(milliseconds) {
  return `${(milliseconds / SECOND).toFixed(1)} s`
}

function askStatus() {
  const sentAt = performance.now()
  request({ ask: 'status' }, (reply) => {
    roundTrip = performance.now() - sentAt
    status = reply
    if (roundTrip > clock.roundTrip) return
    clock.roundTrip = roundTrip
    clock.offset += reply.time - (serverNow() - roundTrip / 2)
  })
}

// What comes

function take(text) {
  second.messages += 1
  second.bytes += text.length // all of it is ASCII
  const message = JSON.parse(text)
  if (message.reply) {
    const onReply = waiting.get(message.reply)
    waiting.delete(message.reply)
    onReply?.(message)
    return
  }
  const age = serverNow() - message.time
  const [kind, of] = message.topic.split('.')
  if (kind === 'trades') {
    takeTrade(message, of)
  } else if (kind === 'ticker') {
    news.prices.push(message)
  } else if (of === symbol) {
    takeBook(message, age)
  }
}

function takeBook(book, age) {
  // A gateway that has been started again counts from 1.
  const skipped = lastBook?.by === book.by ? Math.max(0, book.number - lastBook.number - 1) : 0
  lastBook = { by: book.by, number: book.number }
  totals.conflated += skipped
  latencies.push(Math.max(0, age)) // the clocks are compared only as well as a round trip allows
  news.book = book
  if (!stall) return
  stall.books += 1
  stall.conflated += skipped
  if (stall.isOver && age < FRESH) endStall()
}

function takeTrade(trade, of) {
  const last = positions.get(of)
  positions.set(of, { offset: trade.offset, epoch: trade.epoch })
  const isNext = last?.epoch === trade.epoch && trade.offset === last.offset + 1
  if (asked.has(of)) {
    asked.get(of).trades += 1
  } else {
    latencies.push(Math.max(0, serverNow() - trade.time))
    if (stall) stall.trades += 1
    // After a failure of the backplane, for example
    if (last?.epoch === trade.epoch && !isNext) totals.missed += trade.offset - last.offset - 1
  }
  news.trades.push({ ...trade, symbol: of, isNext })
}

// What the buttons do

function beginStall(milliseconds) {
  stall = { from: serverNow(), missed: totals.missed, books: 0, conflated: 0, trades: 0, isOver: false }
  const until = performance.now() + milliseconds
  // Nothing is read meanwhile: first the browser's buffers fill, then the kernel's, then the server
  // sees that this client is slow.
  while (performance.now() < until);
  stall.isOver = true
}

function endStall() {
  const { from, missed, books, conflated, trades } = stall
  stall = null
  const now = serverNow()
  const lost = totals.missed - missed
  postMessage({
    event:
      `Stalled for ${inSeconds(now - from)}: ${conflated} of ${books + conflated} books conflated, ` +
      `${lost} of ${trades + lost} trades missed`,
    band: { from, until: now, label: 'stalled' },
  })
}

function leave(milliseconds) {
  if (!ws) return
  ws.onclose = ws.onmessage = null
  ws.close()
  forgetConnection()
  comeBack(milliseconds)
}

onmessage = ({ data }) => {
  if (data.watch) {
    if (symbol) request({ unwatch: symbol })
    symbol = data.watch
    lastBook = null
    watch()
  } else if (data.stall) {
    beginStall(data.stall)
  } else if (data.leave) {
    leave(data.leave)
  }
}

// What the page gets

setInterval(() => {
  if (!news.book && !news.trades.length && !news.prices.length) return
  postMessage({ news, at: serverNow() })
  news = emptyNews()
}, FLUSH)

let countedAt = performance.now()

setInterval(() => {
  askStatus()
  const now = performance.now()
  const seconds = (now - countedAt) / SECOND
  countedAt = now
  latencies.sort((a, b) => a - b)
  silence = latencies.length ? 0 : silence + 1
  if (ws?.readyState === WebSocket.OPEN) postMessage({ state: silence < SILENCE ? 'live' : 'silent' })
  postMessage({
    numbers: {
      messages: second.messages / seconds,
      bytes: second.bytes / seconds,
      latency: latencies.length ? latencies[Math.floor(latencies.length / 2)] : null,
      worst: latencies.at(-1) ?? null,
      roundTrip,
      ...totals,
      gateway: status.gateway,
      viewers: status.viewers,
    },
  })
  second = { messages: 0, bytes: 0 }
  latencies = []
}, SECOND)

connect()
