// Drivers of Node through the listener. Says `ok NAME` or `no NAME: why` for each thing tried.
// Told by the environment: FROM (where the drivers are), PORT, CA (a file, or empty for no TLS).
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import tls from 'node:tls';

const require = createRequire(`${process.env.FROM}/x.js`);
const pg = require('pg'), Cursor = require('pg-cursor'), QueryStream = require('pg-query-stream');
const postgres = require('postgres'), makeKnex = require('knex');
const orm = require('drizzle-orm'), core = require('drizzle-orm/pg-core');
const { drizzle } = require('drizzle-orm/node-postgres');

const where = {
  host: '127.0.0.1', port: Number(process.env.PORT), user: 'expense-bot', password: 'swk_bot-key',
  database: 'postgres',
};
// The certificate is for the address, which not every driver says by itself.
const ssl = process.env.CA ? {
  ca: fs.readFileSync(process.env.CA),
  checkServerIdentity: (_, certificate) => tls.checkServerIdentity('127.0.0.1', certificate),
} : false;
const OPEN = 'SELECT amount FROM finance.expenses WHERE id = $1';
const CLOSED = 'SELECT salary FROM hr.compensation';
const LONG = 'SELECT count(*) FROM finance.expenses a, finance.expenses b, finance.expenses c,'
  + ' finance.expenses d, finance.expenses e';
const ODD = "\u00e9\u{1f600}'\\";

async function it(name, work) {
  try {
    await work();
    process.stdout.write(`ok ${name}\n`);
  } catch (error) {
    process.stdout.write(`no ${name}: ${error.code ?? ''} ${error.message}\n`.replaceAll(/\n(?=.)/g, ' '));
  }
}
function same(want, got) {
  if (JSON.stringify(want) !== JSON.stringify(got)) {
    throw new Error(`wanted ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
  }
}
async function refused(promise, code = '42501') {
  same(code, await promise.then(() => 'done', (error) => error.code));
}
async function pgClient(work, more = {}) {
  const client = new pg.Client({ ...where, ssl, ...more });
  await client.connect();
  try { await work(client); } finally { await client.end(); }
}
async function js(work, more = {}) {
  const sql = postgres({ ...where, ssl, onnotice: () => {}, ...more });
  try { await work(sql); } finally { await sql.end({ timeout: 2 }); }
}
async function knex(work) {
  const db = makeKnex({ client: 'pg', connection: { ...where, ssl }, pool: { min: 0, max: 1 } });
  try { await work(db); } finally { await db.destroy(); }
}

await it('pg asks with text, with values and by name', () => pgClient(async (client) => {
  for (let id = 1; id < 8; id++) {
    same(`${id * 10}`, (await client.query(OPEN, [id])).rows[0].amount);
    same(`${id * 10}`, (await client.query({ name: 'n', text: OPEN, values: [id] })).rows[0].amount);
  }
  await refused(client.query(CLOSED));
  await refused(client.query({ name: 'closed', text: CLOSED }));
  await refused(client.query({ name: 'closed', text: CLOSED }));
  same('30', (await client.query({ name: 'n', text: OPEN, values: [3] })).rows[0].amount);
  await refused(client.query('SELECT 1; SELECT 2'));
}));
await it('pg takes binary values', () => pgClient(async (client) => {
  same('30', `${(await client.query({ text: OPEN, values: [3], binary: true })).rows[0].amount}`);
}));
await it('pg has a failed transaction', () => pgClient(async (client) => {
  await client.query('BEGIN');
  await refused(client.query(CLOSED));
  await refused(client.query(OPEN, [1]), '25P02');
  await client.query('ROLLBACK');
  await client.query(OPEN, [1]);
}));
await it('pg reads by a cursor and as a stream', () => pgClient(async (client) => {
  const all = 'SELECT id FROM finance.expenses ORDER BY id';
  const cursor = client.query(new Cursor(all));
  let count = 0, rows;
  while ((rows = await cursor.read(13)).length) count += rows.length;
  await cursor.close();
  const left = client.query(new Cursor(all));
  await left.read(3);
  await left.close();
  for await (const _ of client.query(new QueryStream(all, [], { batchSize: 7 }))) count++;
  same(200, count);
}));
await it('pg keeps types', () => pgClient(async (client) => {
  await client.query(
    'INSERT INTO things (name, tags, doc, raw, made) VALUES ($1, $2, $3, $4, $5)',
    [ODD, ['a', 'b,"'], { a: [1] }, Buffer.from([0, 255]), new Date(0)],
  );
  const row = (await client.query('SELECT name, tags, doc FROM things')).rows[0];
  same({ name: ODD, tags: ['a', 'b,"'], doc: { a: [1] } }, row);
  same(1, (await client.query('DELETE FROM things')).rowCount);
}));
await it('pg is bounded in time', () => pgClient((client) => refused(client.query(LONG), '57014'), {
  statement_timeout: 300, lock_timeout: 1000, application_name: 'x',
}));
await it('pg has a pool', async () => {
  const pool = new pg.Pool({ ...where, ssl, max: 4 });
  const found = await Promise.all(Array.from({ length: 20 }, (_, n) => pool.query(OPEN, [n + 1])));
  await pool.end();
  same('200', found[19].rows[0].amount);
});
if (ssl) {
  await it('pg begins with TLS', () => pgClient((client) => client.query(OPEN, [1]), {
    sslnegotiation: 'direct',
  }));
}
await it('pg binds the channel where that is offered', () => pgClient(
  (client) => client.query(OPEN, [1]), { enableChannelBinding: true },
));
await it('postgres.js prepares', () => js(async (sql) => {
  for (let id = 1; id < 8; id++) {
    same(`${id * 10}`, (await sql`SELECT amount FROM finance.expenses WHERE id = ${id}`)[0].amount);
  }
  await refused(sql`SELECT salary FROM hr.compensation`);
}));
await it('postgres.js pipelines around denials', () => js(async (sql) => {
  const open = (id) => sql`SELECT amount FROM finance.expenses WHERE id = ${id}`;
  const closed = () => sql`SELECT salary FROM hr.compensation WHERE name = ${'x'}`;
  const found = await Promise.allSettled([open(1), closed(), open(2), closed(), open(3)]);
  same(
    ['10', '42501', '20', '42501', '30'],
    found.map((one) => one.value?.[0].amount ?? one.reason.code),
  );
}, { max: 1 }));
await it('postgres.js does not prepare', () => js(
  (sql) => sql`SELECT amount FROM finance.expenses WHERE id = ${1}`, { prepare: false },
));
await it('postgres.js has savepoints', () => js((sql) => sql.begin(async (outer) => {
  await refused(outer.savepoint((inner) => inner`SELECT salary FROM hr.compensation`));
  await outer`SELECT amount FROM finance.expenses WHERE id = ${2}`;
})));
await it('postgres.js reads by a cursor', () => js(async (sql) => {
  let count = 0;
  await sql`SELECT id FROM finance.expenses`.cursor(9, (rows) => { count += rows.length; });
  same(100, count);
}));
await it('postgres.js copies both ways', () => js(async (sql) => {
  let lines = 0;
  for await (const chunk of await sql`COPY finance.expenses TO STDOUT`.readable()) {
    lines += String(chunk).split('\n').length - 1;
  }
  same(100, lines);
  await pipeline(Readable.from(['js\t1\n', 'js\t2\n']), await sql`COPY scratch FROM STDIN`.writable());
  same(2, (await sql`DELETE FROM scratch WHERE note = 'js'`).count);
}));
await it('postgres.js cancels', () => js(async (sql) => {
  const running = sql.unsafe(LONG).execute();
  setTimeout(() => running.cancel(), 300);
  await refused(running, '57014');
}));
await it('knex asks, looks and migrates', () => knex(async (db) => {
  same('30', (await db.withSchema('finance').from('expenses').where('id', 3).first('amount')).amount);
  await db('things').insert([{ name: 'k' }, { name: 'l' }]).returning('id');
  same([true, true], [await db.schema.hasTable('things'), await db.schema.hasColumn('things', 'name')]);
  same('text', (await db('things').columnInfo()).name.type);
  await db.transaction((inside) => inside('things').where({ name: 'k' }).update({ flag: true }));
  same(2, await db('things').del());
  await db.schema.createTable('widgets', (table) => {
    table.increments('id');
    table.text('label').index();
  });
  await db.schema.alterTable('widgets', (table) => { table.string('label', 100).alter(); });
  await db.schema.dropTable('widgets');
  await refused(db.withSchema('hr').from('compensation').select('salary'));
}));
await it('drizzle asks', async () => {
  const pool = new pg.Pool({ ...where, ssl, max: 1 });
  const db = drizzle(pool);
  const things = core.pgTable('things', {
    id: core.serial('id').primaryKey(), name: core.text('name'), tags: core.text('tags').array(),
  });
  try {
    await db.insert(things).values([{ name: 'd', tags: ['x'] }]).returning();
    same('d', (await db.select().from(things).where(orm.eq(things.name, 'd')))[0].name);
    await db.transaction((inside) => inside.update(things).set({ name: 'e' }));
    await db.delete(things);
  } finally {
    await pool.end();
  }
});
