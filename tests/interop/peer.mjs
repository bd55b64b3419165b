// A js-libp2p peer that speaks to one clinic, for one test: what it knows of chartmesh is in
// protocol/README.md. It takes its orders as one JSON argument and prints what happens, one JSON a line:
//
//   {"address": multiaddr of the clinic, "peer": its identity key in hexadecimal, "prefix": "/chartmesh/…/",
//    "seed": 32 bytes in hexadecimal or absent, "ask": [[protocol, request in hexadecimal], …],
//    "follow": true or absent}
//
// With a seed it is the member of that identity, without one a stranger. It ends when its input ends.

import { createHash } from 'node:crypto'

// The library is written for Node 22, which has this; Node 20 has not.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

const { createLibp2p } = await import('libp2p')
const { tcp } = await import('@libp2p/tcp')
const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { gossipsub } = await import('@libp2p/gossipsub')
const { generateKeyPairFromSeed } = await import('@libp2p/crypto/keys')
const { publicKeyFromRaw } = await import('@libp2p/crypto/keys')
const { peerIdFromPublicKey } = await import('@libp2p/peer-id')
const { multiaddr } = await import('@multiformats/multiaddr')

const REPLY_MS = 60_000
const orders = JSON.parse(process.argv[2])
const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')
const hex = (bytes) => Buffer.from(bytes).toString('hex')

function digest (tag, ...parts) {
  const hash = createHash('sha256').update(Buffer.from([tag.length])).update(tag)
  parts.forEach((part) => hash.update(part))
  return hash.digest()
}

function messageId (message) {
  const topic = Buffer.from(message.topic)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(topic.length)
  return digest('gossip', length, topic, message.data)
}

function frame (body) {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

async function readFrame (stream) {
  let held = Buffer.alloc(0)
  for await (const piece of stream) {
    held = Buffer.concat([held, piece.subarray()])
    if (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
      return held.subarray(4, 4 + held.readUInt32BE(0))
    }
  }
  throw new Error('the stream ended without a frame')
}

const node = await createLibp2p({
  ...(orders.seed ? { privateKey: await generateKeyPairFromSeed('Ed25519', Buffer.from(orders.seed, 'hex')) } : {}),
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    ...(orders.follow
      ? { gossip: gossipsub({ emitSelf: false, allowPublishToZeroTopicPeers: true, msgIdFn: messageId }) }
      : {})
  }
})

if (orders.follow) {
  for (const topic of ['blocks', 'urgent']) {
    node.services.gossip.subscribe(orders.prefix + topic)
  }
  node.services.gossip.addEventListener('message', ({ detail }) => {
    tell({ event: 'message', topic: detail.topic, author: detail.from?.toString(), bytes: hex(detail.data) })
  })
}

const clinic = peerIdFromPublicKey(publicKeyFromRaw(Buffer.from(orders.peer, 'hex').subarray(1)))
const address = multiaddr(`${orders.address}/p2p/${clinic}`)
await node.dial(address, { signal: AbortSignal.timeout(REPLY_MS) })
tell({ event: 'connected', peer: node.peerId.toString() })
tell({ event: 'ping', ms: await node.services.ping.ping(address, { signal: AbortSignal.timeout(REPLY_MS) }) })

for (const [protocol, request] of orders.ask ?? []) {
  try {
    const stream = await node.dialProtocol(clinic, `${orders.prefix}${protocol}/1`, { signal: AbortSignal.timeout(REPLY_MS) })
    stream.send(frame(Buffer.from(request, 'hex')))
    tell({ event: 'reply', protocol, bytes: hex(await readFrame(stream)) })
    await stream.close()
  } catch (error) {
    tell({ event: 'refused', protocol, error: `${error.name}: ${error.message}` })
  }
}

process.stdin.resume()
process.stdin.once('end', async () => {
  await node.stop()
  process.exit(0)
})
