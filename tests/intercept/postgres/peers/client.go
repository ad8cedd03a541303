// Drivers of Go through the listener: says `ok NAME` or `no NAME: why` for each thing tried.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
	_ "github.com/jackc/pgx/v4/stdlib"
	"github.com/lib/pq"
)

const (
	asked  = "SELECT amount::int FROM finance.expenses WHERE id = $1"
	closed = "SELECT salary FROM hr.compensation"
	long   = "SELECT count(*) FROM finance.expenses a, finance.expenses b, finance.expenses c," +
		" finance.expenses d, finance.expenses e"
	odd = "\u00e9\U0001f600'\\"
)

var (
	ctx = context.Background()
	url = os.Args[1]
)

func it(name string, work func() error) {
	said := "ok " + name
	if err := work(); err != nil {
		said = "no " + name + ": " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	fmt.Println(said)
}

func code(err error) string {
	var ours *pgconn.PgError
	var theirs *pq.Error
	if errors.As(err, &ours) {
		return ours.Code
	} else if errors.As(err, &theirs) {
		return string(theirs.Code)
	}
	return fmt.Sprint(err)
}

func same(want, got interface{}) error {
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("wanted %v, got %v", want, got)
	}
	return nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func amount(row interface{ Scan(...interface{}) error }, want int) error {
	var got int
	return first(row.Scan(&got), same(want, got))
}

// with connects as `more` asks, and does the work.
func with(more string, work func(c *pgx.Conn) error) func() error {
	return func() error {
		c, err := pgx.Connect(ctx, url+more)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		return work(c)
	}
}

func exec(c interface {
	Exec(context.Context, string, ...interface{}) (pgconn.CommandTag, error)
}, text string, values ...interface{}) error {
	_, err := c.Exec(ctx, text, values...)
	return err
}

func asks(c *pgx.Conn) error {
	for id := 1; id < 9; id++ {
		if err := amount(c.QueryRow(ctx, asked, id), id*10); err != nil {
			return err
		}
	}
	return first(
		same("42501", code(exec(c, closed))),
		same("42501", code(exec(c, closed+" WHERE name = $1", "x"))),
		amount(c.QueryRow(ctx, asked, 3), 30),
	)
}

func batches(c *pgx.Conn) error {
	batch := &pgx.Batch{}
	for id := 1; id < 40; id++ {
		batch.Queue(asked, id)
	}
	found := c.SendBatch(ctx, batch)
	for id := 1; id < 40; id++ {
		if err := amount(found.QueryRow(), id*10); err != nil {
			return err
		}
	}
	refused := &pgx.Batch{}
	refused.Queue(asked, 1)
	refused.Queue(closed)
	refused.Queue(asked, 2)
	err := found.Close()
	found = c.SendBatch(ctx, refused)
	told := []string{}
	for i := 0; i < 3; i++ {
		if _, err := found.Exec(); err != nil {
			told = append(told, code(err))
		}
	}
	found.Close()
	return first(err, same("42501", told[0]), amount(c.QueryRow(ctx, asked, 3), 30))
}

func nests(c *pgx.Conn) error {
	options := pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadWrite}
	return c.BeginTxFunc(ctx, options, func(tx pgx.Tx) error {
		err := tx.BeginFunc(ctx, func(inside pgx.Tx) error { return exec(inside, closed) })
		return first(same("42501", code(err)), amount(tx.QueryRow(ctx, asked, 3), 30))
	})
}

func copies(c *pgx.Conn) error {
	rows := pgx.CopyFromRows([][]interface{}{{"a", true}, {odd, false}})
	count, err := c.CopyFrom(ctx, pgx.Identifier{"things"}, []string{"name", "flag"}, rows)
	out := &strings.Builder{}
	_, copied := c.PgConn().CopyTo(ctx, out, "COPY things (name) TO STDOUT")
	return first(err, copied, same(2, count), same(2, strings.Count(out.String(), "\n")),
		exec(c, "DELETE FROM things"))
}

func keeps(c *pgx.Conn) error {
	into := "INSERT INTO things (name, tags, doc, raw, made) VALUES ($1, $2, $3, $4, $5)"
	given := map[string]int{"a": 1}
	err := exec(c, into, odd, []string{"a", "b,\""}, given, []byte{0, 255}, time.Now())
	var tags []string
	var raw []byte
	row := c.QueryRow(ctx, "SELECT tags, raw FROM things WHERE name = $1", odd)
	return first(err, row.Scan(&tags, &raw), same([]string{"a", "b,\""}, tags),
		same([]byte{0, 255}, raw), exec(c, "DELETE FROM things"))
}

func stops(c *pgx.Conn) error {
	go func() {
		time.Sleep(300 * time.Millisecond)
		c.PgConn().CancelRequest(ctx)
	}()
	err := exec(c, long)
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, late := c.Exec(short, long)
	return first(same("57014", code(err)), same(true, pgconn.Timeout(late)), same(true, c.IsClosed()))
}

func definesAnew(c *pgx.Conn) error {
	look := func() error {
		rows, err := c.Query(ctx, "SELECT * FROM widgets WHERE label = $1", "a")
		if err == nil {
			rows.Close()
			err = rows.Err()
		}
		return err
	}
	return first(
		exec(c, "CREATE TABLE widgets (id int, label text)"),
		look(), look(),
		exec(c, "ALTER TABLE widgets ALTER COLUMN id TYPE bigint"),
		same("0A000", code(look())), look(),
		exec(c, "DEALLOCATE ALL"), exec(c, "DROP TABLE widgets"),
	)
}

func pools() error {
	pool, err := pgxpool.Connect(ctx, url+"&pool_max_conns=4")
	if err != nil {
		return err
	}
	defer pool.Close()
	done := make(chan error, 20)
	for i := 0; i < 20; i++ {
		go func() { done <- amount(pool.QueryRow(ctx, asked, 3), 30) }()
	}
	for i := 0; i < 20; i++ {
		err = first(err, <-done)
	}
	return err
}

// standard asks through database/sql, which opens another connection where one is busy.
func standard(driver, more string) func() error {
	return func() error {
		db, err := sql.Open(driver, url+more)
		if err != nil {
			return err
		}
		defer db.Close()
		prepared, err := db.Prepare(asked)
		for id := 1; err == nil && id < 9; id++ {
			err = amount(prepared.QueryRow(id), id*10)
		}
		_, refused := db.Exec(closed)
		tx, begun := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true})
		if err = first(err, begun, same("42501", code(refused))); err != nil {
			return err
		}
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		_, late := db.ExecContext(short, long)
		_, several := db.Exec("SELECT 1; SELECT 2")
		return first(amount(tx.QueryRow(asked, 3), 30), tx.Commit(), same(false, late == nil),
			same(false, several == nil), amount(db.QueryRow(asked, 3), 30))
	}
}

func copiesIn() error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	into, err := tx.Prepare(pq.CopyIn("scratch", "note", "amount"))
	for i := 0; err == nil && i < 50; i++ {
		_, err = into.Exec("go", i)
	}
	if err != nil {
		return err
	}
	_, sent := into.Exec()
	err = first(sent, into.Close())
	_, gone := tx.Exec("DELETE FROM scratch WHERE note = 'go'")
	return first(err, gone, tx.Commit())
}

func main() {
	it("pgx asks", with("", asks))
	it("pgx asks and describes", with("&statement_cache_mode=describe", asks))
	it("pgx asks without a cache", with("&statement_cache_capacity=0", asks))
	it("pgx asks in simple queries", func() error {
		config, err := pgx.ParseConfig(url)
		if err != nil {
			return err
		}
		config.PreferSimpleProtocol = true
		c, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		return asks(c)
	})
	it("pgx asks in batches", with("", batches))
	it("pgx nests transactions", with("", nests))
	it("pgx copies both ways", with("", copies))
	it("pgx keeps types", with("", keeps))
	it("pgx stops what takes long", with("", stops))
	it("pgx is told that a definition changed", with("", definesAnew))
	it("pgx has a pool", pools)
	it("pgx is the driver of database/sql", standard("pgx", ""))
	it("pq is the driver of database/sql", standard("postgres", ""))
	it("pq binds in binary", standard("postgres", "&binary_parameters=yes"))
	it("pq copies", copiesIn)
}
