/**
 * Lends the one backend to one client's transaction at a time.
 *
 * A client owns the backend from its first message until the backend reports itself idle outside a transaction; the
 * others wait, in order and for a bounded time. Each client's prepared statements carry its own names, and its settings
 * are put back whenever the backend changes hands. What cannot be kept apart, because there is one session: session-level
 * advisory locks, LISTEN, temporary tables, SQL-level PREPARE, and SETs beyond a transaction once another client spoke.
 */
import {
  backendMessages, closeStatement, cstring, errorResponse, executeAbandoned, message, query, readCString, readyForQuery,
  sync,
} from './protocol.mjs'

// Long enough for a slow test's transaction, short enough that a deadlock among a test's own clients is told, not hung.
const WAIT_MAX_MS = 20_000
// The WASM build starts with settings meant for initdb on its command line, where no configuration file reaches them.
const DEFAULTS = new Map([['search_path', '"$user", public'], ['timezone', 'UTC'], ['enable_seqscan', 'on']])

const COMMENTS = String.raw`^(?:\s|--[^\n]*\n|/\*[\s\S]*?\*/)*`
const COPY_IN = new RegExp(String.raw`${COMMENTS}copy\b[\s\S]*\bfrom\s+stdin\b`, 'i')
const COPY_BINARY = /\bformat\s+'?binary\b/i
const SETTINGS_LOST = /\b(?:reset|discard)\s+all\b/i

const quoteLiteral = (text) => `'${text.replaceAll("'", "''")}'`
const quoteName = (text) => `"${text.replaceAll('"', '""')}"`
const setConfig = ([name, value]) => `SELECT set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`

export class Session {
  #db
  #clients = new Set()
  #owner = null
  /** The client whose settings the backend has now. */
  #configuredFor = null
  /** Clients that wait for the backend, oldest first, each with the timer that ends its wait. */
  #waiting = new Map()
  #running = false

  constructor(db) {
    this.#db = db
  }

  join(client) {
    this.#clients.add(client)
  }

  /** Takes one message of a client and runs it when the client's turn comes. */
  receive(client, bytes) {
    const type = String.fromCharCode(bytes[0])
    if (client.skipping) {
      if (type !== 'S' && type !== 'Q') return
      client.skipping = false
      client.send(readyForQuery())
      return
    }
    client.pending.push(bytes)
    this.#wait(client)
    void this.#run()
  }

  /** Forgets a client that is gone: its transaction is rolled back, its statements are closed. */
  leave(client) {
    if (!this.#clients.delete(client)) return
    client.copy = null
    // An error first: a Sync alone would commit what the client had not yet asked to be committed.
    client.pending = [executeAbandoned(), sync(), query('ROLLBACK')]
    if (this.#clients.size === 0) client.pending.push(query('DISCARD ALL'))
    else client.pending.push(...[...client.statements].map(closeStatement), sync())
    this.#stopWaiting(client)
    this.#wait(client)
    void this.#run()
  }

  /** Refuses the statement that a client waits with; one that already runs cannot be interrupted. */
  cancel(pid, secret) {
    for (const client of this.#waiting.keys()) {
      if (client.pid === pid && client.secret === secret) this.#refuse(client, '57014', 'canceling statement due to user request')
    }
  }

  #wait(client) {
    if (this.#owner === client || this.#waiting.has(client)) return
    const refuse = () => this.#refuse(client, '55P03', `another client has held the only session for ${WAIT_MAX_MS} ms`)
    this.#waiting.set(client, this.#clients.has(client) ? setTimeout(refuse, WAIT_MAX_MS) : undefined)
  }

  #stopWaiting(client) {
    clearTimeout(this.#waiting.get(client))
    this.#waiting.delete(client)
  }

  #refuse(client, code, text) {
    this.#stopWaiting(client)
    const end = client.pending.findIndex((bytes) => bytes[0] === 'S'.charCodeAt(0) || bytes[0] === 'Q'.charCodeAt(0))
    client.send(errorResponse('ERROR', code, text))
    client.skipping = end === -1
    client.pending = client.skipping ? [] : client.pending.slice(end + 1)
    if (!client.skipping) client.send(readyForQuery())
    if (client.pending.length > 0) this.#wait(client)
  }

  async #run() {
    if (this.#running) return
    this.#running = true
    while (this.#takeOwner()) {
      const client = this.#owner
      if (client === this.#configuredFor || (await this.#configure(client))) await this.#step(client, client.pending.shift())
    }
    this.#running = false
  }

  /** Makes sure of an owner with a message to run, or returns false when there is nothing to do. */
  #takeOwner() {
    if (this.#owner === null && this.#waiting.size > 0) {
      this.#owner = this.#waiting.keys().next().value
      this.#stopWaiting(this.#owner)
    }
    return this.#owner !== null && this.#owner.pending.length > 0
  }

  #release(client) {
    this.#owner = null
    if (client.pending.length > 0) this.#wait(client)
  }

  /** Gives the backend a client's user and settings; a client that asked for impossible ones is told and let go. */
  async #configure(client) {
    const settings = [...DEFAULTS, ...client.settings].map(setConfig)
    const user = `SET SESSION AUTHORIZATION ${quoteName(client.user)}`
    const output = await this.#execute(query(['SET SESSION AUTHORIZATION DEFAULT; RESET ALL', user, ...settings].join('; ')))
    for (const [type, bytes] of backendMessages(output)) {
      if (type === 'S') client.send(bytes)
      if (type === 'E') {
        client.end(bytes)
        client.pending = []
        this.#configuredFor = null
        this.#release(client)
        return false
      }
    }
    this.#configuredFor = client
    return true
  }

  async #step(client, bytes) {
    const type = String.fromCharCode(bytes[0])
    if (client.copy !== null) {
      await this.#collectCopy(client, type, bytes)
      return
    }
    const sql = type === 'Q' ? readCString(bytes, 5)[0] : type === 'P' ? readCString(bytes, readCString(bytes, 5)[1])[0] : ''
    if (COPY_IN.test(sql) && type === 'P') {
      // Drivers send COPY as a simple query. The backend refuses this in its place, and so keeps its own error state.
      bytes = message('P', cstring(''), cstring('COPY FROM STDIN as a prepared statement'), Buffer.alloc(2))
    } else if (COPY_IN.test(sql)) {
      // The backend cannot wait for input in the middle of a statement, so the data is collected first.
      client.copy = [bytes]
      client.send(message('G', Buffer.from([COPY_BINARY.test(sql) ? 1 : 0, 0, 0])))
      return
    }
    if (type === 'P' && readCString(bytes, 5)[0] === '') {
      // A real server replaces the unnamed statement silently; under a name of its own it must be closed first.
      await this.#execute(closeStatement(statementName(client, '')))
    }
    client.losesSettings ||= SETTINGS_LOST.test(sql)
    client.onlyPreparing &&= 'PDCH'.includes(type)
    this.#deliver(client, await this.#execute(renameStatement(client, type, bytes)))
    if (type === 'H' && client.onlyPreparing) {
      // A driver may prepare a statement, flush, and send the Sync that ends its turn only with the first use.
      await this.#execute(sync())
      this.#release(client)
    }
  }

  async #collectCopy(client, type, bytes) {
    if (type === 'd' || type === 'c' || type === 'f') client.copy.push(bytes)
    if (type !== 'c' && type !== 'f') return
    const whole = Buffer.concat(client.copy)
    client.copy = null
    const output = await this.#execute(whole)
    const announced = output[0] === 'G'.charCodeAt(0)
    this.#deliver(client, announced ? output.subarray(1 + output.readInt32BE(1)) : output)
  }

  /** Sends the backend's output to its client, notifications to everybody, and ends the turn when it is idle. */
  #deliver(client, output) {
    client.send(output)
    let idle = false
    for (const [type, bytes] of backendMessages(output)) {
      if (type === 'Z') idle = client.onlyPreparing = bytes[5] === 'I'.charCodeAt(0)
      if (type === 'E') client.onlyPreparing = false
      if (type === 'A') for (const other of this.#clients) if (other !== client) other.send(bytes)
    }
    if (!idle) return
    if (client.losesSettings) this.#configuredFor = null
    client.losesSettings = false
    this.#release(client)
  }

  async #execute(bytes) {
    const { data } = await this.#db.execProtocol(new Uint8Array(bytes), { throwOnError: false, syncToFs: false })
    return Buffer.from(data)
  }
}

const statementName = (client, name) => `client${client.pid}:${name}`

/** Returns the message with the prepared statement that it names put under a name of this client's own. */
function renameStatement(client, type, bytes) {
  const ofStatement = bytes[5] === 'S'.charCodeAt(0)
  let nameAt
  if (type === 'P') nameAt = 5
  else if (type === 'B') nameAt = readCString(bytes, 5)[1]
  else if ((type === 'D' || type === 'C') && ofStatement) nameAt = 6
  else return bytes
  const [name, restAt] = readCString(bytes, nameAt)
  const own = statementName(client, name)
  if (type === 'P') client.statements.add(own)
  if (type === 'C') client.statements.delete(own)
  return message(type, bytes.subarray(5, nameAt), cstring(own), bytes.subarray(restAt))
}
