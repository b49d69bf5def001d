// The npm package `ws` and a hand-written loop over `redis` or `ioredis` (--variant). The same sides
// and command line as the gateways in Python, see gateway_common.py.
'use strict';

const fs = require('fs');
const http = require('http');
const WebSocket = require('ws');

const HEAD = 19; // characters: "#TTTT NNNNNNNNNNNN "

function print(value) {
  fs.writeSync(1, `${JSON.stringify(value)}\n`);
}

if (process.argv[2] === 'versions') {
  const versions = { node: process.versions.node };
  for (const name of ['ws', 'redis', 'ioredis', 'bufferutil']) {
    versions[name] = require(`${name}/package.json`).version;
  }
  print(versions);
  process.exit(0);
}

function parseArguments(words) {
  const options = { side: words[0], topics: 1, burst: 1, size: 128, variant: 'redis' };
  for (let i = 1; i < words.length; i += 1) {
    const name = words[i].slice(2);
    if (name === 'deflate') {
      options.deflate = true;
    } else {
      i += 1;
      options[name] = typeof options[name] === 'number' ? Number(words[i]) : words[i];
    }
  }
  return options;
}

const options = parseArguments(process.argv.slice(2));
const names = Array.from({ length: options.topics }, (_, number) => `topic.${number}`);

// A client library: how to connect, publish, and hear.
const libraries = {
  async redis() {
    const client = require('redis').createClient({ url: options.url });
    client.on('error', (error) => { throw error; });
    await client.connect();
    return {
      publish: (name, text) => client.publish(name, text),
      subscribe: (heard) => client.subscribe(names, (text, name) => heard(name, text)),
    };
  },

  async ioredis() {
    const Redis = require('ioredis');
    const client = new Redis(options.url, { enableAutoPipelining: true });
    await client.ping();
    return {
      publish: (name, text) => client.publish(name, text),
      subscribe: async (heard) => {
        client.on('message', heard);
        await client.subscribe(...names);
      },
    };
  },
};

async function serve() {
  const rooms = new Map(names.map((name) => [name, new Set()]));
  const carrier = http.createServer();
  const server = new WebSocket.Server({
    server: carrier,
    // The default threshold of 1,024 bytes would leave all of them as they are.
    perMessageDeflate: options.deflate ? { threshold: 64 } : false,
  });
  server.on('connection', (socket) => {
    for (const room of rooms.values()) room.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const room of rooms.values()) room.delete(socket);
    });
  });
  const engine = await libraries[options.variant]();
  await engine.subscribe((name, text) => {
    for (const socket of rooms.get(name)) {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    }
  });
  carrier.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
    print({ port: carrier.address().port });
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.resume();
}

async function publish() {
  const text = fs.readFileSync(options.payloads, 'ascii');
  const tails = text.match(new RegExp(`.{${options.size - HEAD}}`, 'gs'));
  const engine = await libraries[options.variant]();
  let count = 0;
  process.stdin.on('end', () => process.exit(0));
  process.stdin.on('data', (credits) => {
    const sent = [];
    for (let left = credits.length * options.burst; left > 0; left -= 1) {
      const topic = count % names.length;
      const number = String(Math.floor(count / names.length)).padStart(12, '0');
      const head = `#${String(topic).padStart(4, '0')} ${number} `;
      sent.push(engine.publish(names[topic], head + tails[count % tails.length]));
      count += 1;
    }
    Promise.all(sent).catch((error) => { throw error; });
  });
  print({ ready: true });
}

(options.side === 'server' ? serve : publish)();
