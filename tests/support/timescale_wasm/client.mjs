/** One client's socket: its start-up, its messages cut and handed to the session, its end. */
import { randomInt } from 'node:crypto'
import { Framer, cstring, errorResponse, int32, message, parseOpening, readyForQuery } from './protocol.mjs'

const REPORTED = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}
const NOT_SETTINGS = new Set(['user', 'database', 'replication', 'options'])
const SECRET_MAX = 2 ** 31

let nextPid = 1

export class Client {
  pid = nextPid++
  secret = randomInt(SECRET_MAX)
  user = ''
  /** Settings asked for at start-up, by name. */
  settings = new Map()
  /** Whole messages that wait for the session. */
  pending = []
  /** The messages of a COPY FROM STDIN since its query, or null outside one. */
  copy = null
  /** Whether messages are dropped until the refused statement ends. */
  skipping = false
  /** Whether a statement under way puts the backend's settings back to its own. */
  losesSettings = false
  /** Whether nothing but the preparing of statements went to the backend since it was last idle. */
  onlyPreparing = true
  /** Names that the backend knows this client's prepared statements by. */
  statements = new Set()
  #socket
  #session
  #framer = new Framer()

  constructor(socket, session, database) {
    this.#socket = socket
    this.#session = session
    this.database = database
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(chunk))
    // A reset by the peer is followed by 'close', which ends the client's transaction.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => session.leave(this))
  }

  send(bytes) {
    if (this.#socket.writable && bytes.length > 0) this.#socket.write(bytes)
  }

  end(lastMessage = Buffer.alloc(0)) {
    if (this.#socket.writable) this.#socket.end(lastMessage)
  }

  #read(chunk) {
    this.#framer.push(chunk)
    for (let bytes = this.#framer.next(); bytes !== null; bytes = this.#framer.next()) {
      if (!this.#framer.started) this.#open(parseOpening(bytes))
      else if (bytes[0] === 'X'.charCodeAt(0)) this.end()
      else if (bytes[0] !== 'p'.charCodeAt(0)) this.#session.receive(this, bytes)
    }
  }

  #open(opening) {
    switch (opening.kind) {
      case 'encryption':
        this.send(Buffer.from('N'))
        break
      case 'cancel':
        this.#session.cancel(opening.pid, opening.secret)
        this.end()
        break
      case 'startup':
        this.#framer.started = true
        this.#start(opening.parameters)
        break
      default:
        this.end(errorResponse('FATAL', '0A000', 'only protocol 3.0 is spoken here'))
    }
  }

  #start(parameters) {
    this.user = parameters.get('user')
    const database = parameters.get('database') ?? this.user
    if (database !== this.database) {
      this.end(errorResponse('FATAL', '3D000', `the only database here is "${this.database}", not "${database}"`))
      return
    }
    for (const [name, value] of parameters) if (!NOT_SETTINGS.has(name)) this.settings.set(name, value)
    for (const [, name, value] of (parameters.get('options') ?? '').matchAll(/(?:-c\s*|--)([\w.]+)=((?:\\.|[^\s\\])*)/g)) {
      this.settings.set(name, value.replace(/\\(.)/g, '$1'))
    }
    this.send(message('R', int32(0)))
    for (const [name, value] of Object.entries(REPORTED)) this.send(message('S', cstring(name), cstring(value)))
    this.send(message('K', int32(this.pid, this.secret)))
    this.send(readyForQuery())
    this.#session.join(this)
  }
}
