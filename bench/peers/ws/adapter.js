// The npm package `ws`, with the native helpers that it documents. The same roles and command line
// as the Python adapters, see common.py.
'use strict';

const fs = require('fs');
const https = require('https');
const http = require('http');
const WebSocket = require('ws');

const BATCH = 256; // messages that a source sends in one go
const HIGH_WATERMARK = 64 * 1024; // bytes that it lets wait
const CLOSE_NORMAL = 1000;

function parseArguments(words) {
  const options = {
    side: words[0], role: words[1], port: 0, size: 256, connections: 1, first: 1, window: 1,
    messages: 0, seconds: 1, warmup: 0.3,
  };
  for (let i = 2; i < words.length; i += 2) {
    const name = words[i].slice(2);
    options[name] = name in options ? Number(words[i + 1]) : words[i + 1];
  }
  return options;
}

if (process.argv[2] === 'versions') {
  const versions = { node: process.versions.node, openssl: process.versions.openssl };
  for (const name of ['ws', 'bufferutil']) {
    versions[name] = require(`${name}/package.json`).version;
  }
  print(versions);
  process.exit(0);
}

const options = parseArguments(process.argv.slice(2));
const message = Buffer.alloc(options.size);
for (let i = 0; i < options.size; i += 1) message[i] = 'a'.charCodeAt(0) + (i % 26);

function print(value) {
  fs.writeSync(1, `${JSON.stringify(value)}\n`);
}

function fail(text) {
  fs.writeSync(2, `${text}\n`);
  process.exit(1);
}

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

// A warm-up and the measured seconds after it, or all of --messages.
class Window {
  constructor(count, check, ended) {
    this.count = count;
    this.check = check;
    this.ended = ended;
    this.begun = false;
    this.over = false;
  }

  begin() {
    if (this.begun) return;
    this.begun = true;
    if (options.messages) {
      this.open();
    } else {
      setTimeout(() => this.open(), options.warmup * 1000);
    }
  }

  open() {
    if (this.check && this.count()) this.check();
    this.start = [this.count(), performance.now(), cpuSeconds()];
    if (!options.messages) setTimeout(() => this.close(), options.seconds * 1000);
  }

  close() {
    if (this.over) return;
    this.over = true;
    const [count, time, cpu] = this.start;
    this.result = {
      count: this.count() - count,
      seconds: (performance.now() - time) / 1000,
      cpu: cpuSeconds() - cpu,
      rss: process.memoryUsage.rss(),
    };
    if (this.check && this.count()) this.check();
    this.ended(this.result);
  }
}

function finish(result) {
  print(result);
  process.exit(0);
}

function countMessages(socket, ended) {
  let count = 0;
  let last = null;
  const window = new Window(() => count, () => {
    const number = last.readUInt32LE(0) + last.readUInt32LE(4) * 2 ** 32;
    if (number + 1 !== count) fail(`${count} messages when number ${number} arrived`);
  }, ended);
  socket.on('message', (data) => {
    last = data;
    count += 1;
    if (count === options.messages) window.close();
  });
  socket.on('close', () => {
    if (!window.over) fail('the connection was closed early');
  });
  window.begin();
}

function pump(socket, window, counted) {
  let count = 0;
  const burst = () => {
    if (socket.readyState !== WebSocket.OPEN) return;
    let left = options.messages ? Math.min(BATCH, options.messages - count) : BATCH;
    count += left;
    for (; left > 0; left -= 1) socket.send(message);
    counted(count);
    if (options.messages && count === options.messages) {
      if (window) window.close();
    } else if (socket.bufferedAmount > HIGH_WATERMARK) {
      socket._socket.once('drain', burst);
    } else {
      setImmediate(burst);
    }
  };
  burst();
}

// Servers

const serverRoles = {
  echo(socket) {
    socket.on('message', (data) => socket.send(data));
  },
  sink(socket) {
    countMessages(socket, print);
  },
  source(socket) {
    pump(socket, null, () => {});
  },
  broadcast(socket, server) {
    socket.on('message', (data) => {
      for (const member of server.clients) member.send(data);
    });
  },
};

function serve() {
  const secure = options.cert !== undefined;
  const carrier = secure
    ? https.createServer({ cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) })
    : http.createServer();
  const server = new WebSocket.Server({
    server: carrier, perMessageDeflate: false, maxPayload: 0, clientTracking: true,
  });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    serverRoles[options.role](socket, server);
  });
  carrier.listen({ port: options.port, host: '127.0.0.1', backlog: 1024 }, () => {
    print({ port: carrier.address().port });
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}

// Clients

function connect() {
  const secure = options.ca !== undefined;
  return new WebSocket(`${secure ? 'wss' : 'ws'}://127.0.0.1:${options.port}/`, {
    perMessageDeflate: false,
    maxPayload: 0,
    ca: secure ? fs.readFileSync(options.ca) : undefined,
  });
}

const clientRoles = {
  echo() {
    const socket = connect();
    let count = 0;
    const window = new Window(() => count, null, finish);
    socket.on('open', () => {
      window.begin();
      for (let i = 0; i < options.window; i += 1) socket.send(message);
    });
    socket.on('message', (data) => {
      if (!message.equals(data)) fail('the echo is not what was sent');
      count += 1;
      if (count === options.messages) {
        window.close();
      } else {
        socket.send(message);
      }
    });
  },

  sink() {
    const socket = connect();
    socket.on('open', () => countMessages(socket, finish));
  },

  source() {
    const socket = connect();
    let sent = 0;
    let result = null;
    const window = new Window(() => sent, null, (value) => { result = value; });
    socket.on('open', () => {
      window.begin();
      pump(socket, window, (count) => { sent = count; });
    });
    socket.on('close', () => {
      if (result === null) fail('the connection was closed early');
      finish(result);
    });
  },

  churn() {
    let count = 0;
    const window = new Window(() => count, null, finish);
    const again = () => {
      const socket = connect();
      socket.on('open', () => socket.close(CLOSE_NORMAL));
      socket.on('close', () => {
        count += 1;
        again();
      });
    };
    window.begin();
    for (let i = 0; i < options.connections; i += 1) again();
  },

  idle() {
    const held = [];
    const lines = [];
    const openTo = (target, done) => {
      if (held.length === target) {
        print({ idle: target });
        done();
        return;
      }
      const socket = connect();
      socket.on('open', () => socket.send(message));
      socket.on('message', (data) => {
        if (!message.equals(data)) fail('the echo is not what was sent');
        held.push(socket);
        openTo(target, done);
      });
    };
    process.stdin.on('data', () => lines.shift()());
    process.stdin.on('end', () => process.exit(0));
    openTo(options.first, () => {
      lines.push(() => openTo(options.connections, () => {}));
    });
  },
};

if (options.side === 'server') {
  serve();
} else {
  clientRoles[options.role]();
}
