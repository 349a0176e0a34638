/** The PostgreSQL frontend/backend protocol 3.0, as far as the server looks into it. */

const PROTOCOL_VERSION = 196608
const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102

/** Returns one protocol message: a type letter, its length, and the parts joined. */
export function message(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const cstring = (text) => Buffer.from(`${text}\0`)
export const int32 = (...values) => {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, i) => bytes.writeInt32BE(value, 4 * i))
  return bytes
}
export const query = (sql) => message('Q', cstring(sql))
export const sync = () => message('S')
export const closeStatement = (name) => message('C', Buffer.from('S'), cstring(name))
/** Executes a portal that nobody made, which fails whatever is under way. */
export const executeAbandoned = () => message('E', cstring('abandoned'), int32(0))
export const readyForQuery = () => message('Z', Buffer.from('I'))

/** `severity` is ERROR, or FATAL when the connection ends after it; `code` is an SQLSTATE. */
export function errorResponse(severity, code, text) {
  return message('E', cstring(`S${severity}`), cstring(`V${severity}`), cstring(`C${code}`), cstring(`M${text}`), Buffer.alloc(1))
}

/** Returns the NUL-terminated string at `start` and the offset behind its NUL. */
export function readCString(bytes, start) {
  const end = bytes.indexOf(0, start)
  return [bytes.toString('utf8', start, end), end + 1]
}

/** Yields the messages of a backend's output as [type letter, bytes of the whole message]. */
export function* backendMessages(output) {
  for (let start = 0; start < output.length; ) {
    const end = start + 1 + output.readInt32BE(start + 1)
    yield [String.fromCharCode(output[start]), output.subarray(start, end)]
    start = end
  }
}

/** Cuts a client's byte stream into messages. Those before the start-up message have no type letter. */
export class Framer {
  started = false
  #chunks = []
  #size = 0

  push(chunk) {
    this.#chunks.push(chunk)
    this.#size += chunk.length
  }

  /** Returns the next whole message, or null until more bytes come. */
  next() {
    const prefix = this.started ? 1 : 0
    if (this.#size < prefix + 4) return null
    if (this.#chunks[0].length < prefix + 4) this.#chunks = [Buffer.concat(this.#chunks)]
    const length = prefix + this.#chunks[0].readInt32BE(prefix)
    if (this.#size < length) return null
    // Joined only when the message is whole, so that a long one is not copied once per chunk.
    const bytes = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
    this.#chunks = bytes.length > length ? [bytes.subarray(length)] : []
    this.#size -= length
    return bytes.subarray(0, length)
  }
}

/** Returns what a message before the start-up asks for: {kind: 'encryption' | 'cancel' | 'startup' | 'unsupported', …}. */
export function parseOpening(bytes) {
  switch (bytes.readInt32BE(4)) {
    case SSL_REQUEST:
    case GSS_REQUEST:
      return { kind: 'encryption' }
    case CANCEL_REQUEST:
      return { kind: 'cancel', pid: bytes.readInt32BE(8), secret: bytes.readInt32BE(12) }
    case PROTOCOL_VERSION:
      return { kind: 'startup', parameters: startupParameters(bytes) }
    default:
      return { kind: 'unsupported' }
  }
}

function startupParameters(bytes) {
  const parameters = new Map()
  for (let at = 8; bytes[at] !== 0; ) {
    const [name, valueAt] = readCString(bytes, at)
    const [value, nextAt] = readCString(bytes, valueAt)
    parameters.set(name, value)
    at = nextAt
  }
  return parameters
}
