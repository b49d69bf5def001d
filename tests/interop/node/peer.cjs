// The clients and servers of npm's ws, for tests/interop/node_ws.py.
//
// Prints the port on which it takes commands, and ends with its standard input. A connection is
// one session: each line is a command as JSON, {"id": ID, "do": NAME, ...}, and is answered, as soon
// as it is done, by a line {"id": ID, ...}, with "error" if it failed. What a session has opened ends
// with it.
// Texts go as {"text": ...}, bytes as {"binary": BASE64}, an end as {"close": [CODE, REASON]}.
'use strict'

const http = require('http')
const https = require('https')
const net = require('net')
const readline = require('readline')
const { WebSocket, WebSocketServer } = require('ws')

const PATHS = ['echo', 'fragments', 'ping', 'close']

class Inbox {
  constructor() {
    this.items = []
    this.waiting = null
  }

  put(item) {
    if (this.waiting) {
      this.waiting(item)
      this.waiting = null
    } else {
      this.items.push(item)
    }
  }

  get() {
    if (this.items.length) return Promise.resolve(this.items.shift())
    return new Promise((resolve) => { this.waiting = resolve })
  }
}

function pack(data, isBinary) {
  return isBinary ? { binary: data.toString('base64') } : { text: data.toString() }
}

function unpack(message) {
  return message.text === undefined ? Buffer.from(message.binary, 'base64') : message.text
}

function once(emitter, event) {
  return new Promise((resolve) => emitter.once(event, (...values) => resolve(values)))
}

function send(ws, data, options) {
  return new Promise((resolve, reject) => {
    ws.send(data, options, (error) => (error ? reject(error) : resolve()))
  })
}

async function sendFragments(ws, parts) {
  for (let index = 0; index < parts.length; index++) {
    await send(ws, parts[index], { fin: index === parts.length - 1 })
  }
}

class Session {
  constructor() {
    this.client = null
    this.received = new Inbox()
    this.closes = new Inbox()
    this.servers = []
  }

  end() {
    if (this.client) this.client.terminate()
    for (const server of this.servers) {
      for (const socket of server.sockets) socket.destroy()
      server.close()
    }
  }

  async run({ id, do: what, ...argument }) {
    try {
      return { id, ...(await this[`do_${what}`](argument)) }
    } catch (error) {
      return { id, error: String(error.stack) }
    }
  }

  // As a client

  do_connect({ url, protocols, authority, options }) {
    const ws = new WebSocket(url, protocols, { ca: authority, ...options })
    this.client = ws
    let headers = {}
    ws.on('upgrade', (response) => { headers = response.headers })
    ws.on('message', (data, isBinary) => this.received.put(pack(data, isBinary)))
    ws.on('close', (code, reason) => this.received.put({ close: [code, reason.toString()] }))
    return new Promise((resolve, reject) => {
      ws.on('error', reject)  // after the opening handshake an end follows, which says enough
      ws.on('open', () => resolve({ extensions: ws.extensions, protocol: ws.protocol, headers }))
      ws.on('unexpected-response', (request, response) => {
        response.resume()
        resolve({ status: response.statusCode })
      })
    })
  }

  async do_send({ message, options }) {
    await send(this.client, unpack(message), options || {})
  }

  async do_send_fragments({ messages }) {
    await sendFragments(this.client, messages.map(unpack))
  }

  do_receive() {
    return this.received.get()
  }

  async do_ping() {
    const pong = once(this.client, 'pong')
    this.client.ping('are you there?')
    const [data] = await pong
    if (data.toString() !== 'are you there?') throw new Error(`pong ${data}`)
  }

  async do_close({ code, reason }) {
    const closed = once(this.client, 'close')
    this.client.close(code, reason)
    await closed
  }

  // As a server

  async do_listen({ tls, options }) {
    const server = tls ? https.createServer(tls) : http.createServer()
    server.sockets = new Set()
    server.on('connection', (socket) => {
      server.sockets.add(socket)
      socket.on('close', () => server.sockets.delete(socket))
    })
    const wss = new WebSocketServer({
      noServer: true,
      handleProtocols: (offered) => offered.has('interop.v1') && 'interop.v1',
      ...options
    })
    wss.on('headers', (headers) => headers.push('X-Peer: ws'))
    server.on('upgrade', (request, socket, head) => {
      const [what, ...words] = decodeURIComponent(request.url.split('?')[0]).split('/').slice(1)
      if (!PATHS.includes(what)) {
        socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot here\n')
        return
      }
      wss.handleUpgrade(request, socket, head, (ws) => this.serve(ws, what, words))
    })
    this.servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return { port: server.address().port }
  }

  serve(ws, what, words) {
    ws.on('error', () => {})  // an end follows, which says enough
    ws.on('close', (code, reason) => this.closes.put({ close: [code, reason.toString()] }))
    ws.on('message', (data, isBinary) => {
      if (what === 'fragments') {
        const third = Math.floor(data.length / 3)
        const parts = [data.subarray(0, third), data.subarray(third, 2 * third), data.subarray(2 * third)]
        parts.forEach((part, index) => ws.send(part, { binary: isBinary, fin: index === 2 }))
      } else {
        ws.send(data, { binary: isBinary })
      }
    })
    if (what === 'ping') {
      ws.on('pong', () => ws.send('ponged'))
      ws.ping('are you there?')
    } else if (what === 'close') {
      ws.close(Number(words[0]), words.slice(1).join('/'))
    }
  }

  do_next_close() {
    return this.closes.get()
  }
}

const control = net.createServer((socket) => {
  const session = new Session()
  socket.on('error', () => {})
  socket.on('close', () => session.end())
  const lines = readline.createInterface({ input: socket })
  lines.on('error', () => {})
  lines.on('line', async (line) => {
    socket.write(`${JSON.stringify(await session.run(JSON.parse(line)))}\n`)
  })
})
control.listen(0, '127.0.0.1', () => console.log(control.address().port))
process.stdin.on('end', () => process.exit(0)).resume()
