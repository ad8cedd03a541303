import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.util.Objects;
import org.postgresql.PGConnection;

/** The driver of Java through the listener: says `ok NAME` or `no NAME: why` for each thing tried. */
public class Client {
    static final String ASKED = "SELECT amount FROM finance.expenses WHERE id = ?";
    static final String CLOSED = "SELECT salary FROM hr.compensation";
    static final String ALL = "SELECT id FROM finance.expenses ORDER BY id";
    static final String LONG =
        "SELECT count(*) FROM finance.expenses a, finance.expenses b, finance.expenses c,"
            + " finance.expenses d, finance.expenses e, finance.expenses f";
    static final String INTO = "INSERT INTO scratch (note, amount) VALUES (?, ?)";
    static final String ODD = "\u00e9\uD83D\uDE00'\\";
    static String url;

    interface Work { void on(Connection connection) throws Exception; }
    interface Ask { Object on(DatabaseMetaData made) throws Exception; }

    static void it(String name, String more, Work work) {
        String said = "ok " + name;
        try (Connection connection = DriverManager.getConnection(url + more)) {
            work.on(connection);
        } catch (Throwable error) {
            String code = error instanceof SQLException ? ((SQLException) error).getSQLState() : "";
            said = "no " + name + ": " + code + " " + error.getMessage();
        }
        System.out.println(said.replace('\n', ' '));
    }

    static void looks(String name, int least, Ask ask) {
        it("looks at " + name, "", c -> {
            Object found = ask.on(c.getMetaData());
            if (count((ResultSet) found) < least) throw new AssertionError("too few");
        });
    }

    static void same(Object want, Object got) {
        if (!Objects.equals(String.valueOf(want), String.valueOf(got)))
            throw new AssertionError("wanted " + want + ", got " + got);
    }

    static int count(ResultSet rows) throws SQLException {
        int found = 0;
        for (; rows.next(); found++)
            for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) rows.getObject(at);
        rows.close();
        return found;
    }

    static void asks(Connection c) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(ASKED)) {
            for (int id = 1; id <= 9; id++) {
                s.setInt(1, id);
                ResultSet rows = s.executeQuery();
                rows.next();
                same(id * 10, rows.getBigDecimal(1).intValue());
                rows.close();
            }
        }
    }

    static void refused(String code, Connection c, String text) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(text);
        } catch (SQLException error) {
            same(code, error.getSQLState());
            return;
        }
        throw new AssertionError("not refused");
    }

    static int changes(Connection c, String text) throws SQLException {
        return c.createStatement().executeUpdate(text);
    }

    static void batch(Connection c) throws SQLException {
        PreparedStatement s = c.prepareStatement(INTO);
        for (int n = 0; n < 300; n++) {
            s.setString(1, "batch");
            s.setInt(2, n);
            s.addBatch();
        }
        same(300, s.executeBatch().length);
        same(300, changes(c, "DELETE FROM scratch WHERE note = 'batch'"));
    }

    public static void main(String[] told) {
        url = told[0];
        for (String mode : "simple extended extendedForPrepared extendedCacheEverything".split(" "))
            it("asks in mode " + mode, "&preferQueryMode=" + mode, c -> {
                asks(c);
                refused("42501", c, CLOSED);
                asks(c);
            });
        for (String uses : "1 -1".split(" "))
            it("prepares on the server after " + uses, "&prepareThreshold=" + uses, c -> {
                asks(c);
                refused("42501", c, CLOSED);
                asks(c);
            });
        it("reads text alone", "&binaryTransfer=false", c -> asks(c));
        it("has transactions", "", Client::transactions);
        it("saves before each statement", "&autosave=always&cleanupSavepoints=true", c -> {
            c.setAutoCommit(false);
            refused("42501", c, CLOSED);
            asks(c);
            c.commit();
        });
        it("writes in batches", "", Client::batch);
        it("writes in rewritten batches", "&reWriteBatchedInserts=true", Client::batch);
        it("has the keys that were made", "", c -> {
            PreparedStatement s = c.prepareStatement(
                "INSERT INTO things (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS);
            s.setString(1, ODD);
            s.executeUpdate();
            same(1, count(s.getGeneratedKeys()));
            same(1, changes(c, "DELETE FROM things"));
        });
        it("fetches two cursors by turns", "&defaultRowFetchSize=7", Client::cursors);
        it("is bounded in time", "", c -> {
            Statement s = c.createStatement();
            s.setQueryTimeout(1);
            try {
                s.executeQuery(LONG);
                throw new AssertionError("not cancelled");
            } catch (SQLException error) {
                same("57014", error.getSQLState());
            }
            asks(c);
        });
        it("says who it is", "&ApplicationName=a&options=-c%20statement_timeout=90s", c -> {
            c.setClientInfo("ApplicationName", "b");
            same("public", c.getSchema());
            same(true, c.isValid(3));
        });
        it("reads and writes by turns, where names are looked up as ever",
            "&currentSchema=public&readOnlyMode=always", c -> {
                c.setReadOnly(true);
                refused("25006", c, "INSERT INTO scratch VALUES ('x', 1)");
                c.setReadOnly(false);
                c.setSchema("public");
                same(1, changes(c, "INSERT INTO scratch VALUES ('by turns', 1)"));
                same(1, changes(c, "DELETE FROM scratch WHERE note = 'by turns'"));
                refused("42501", c, "SET SESSION search_path TO 'hr'");
            });
        it("keeps types", "&prepareThreshold=-1", Client::types);
        it("copies both ways", "", c -> {
            var copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringWriter out = new StringWriter();
            copy.copyOut("COPY finance.expenses TO STDOUT", out);
            same(100, out.toString().split("\n").length);
            copy.copyIn("COPY scratch FROM STDIN", new StringReader("copied\t1\ncopied\t2\n"));
            same(2, changes(c, "DELETE FROM scratch WHERE note = 'copied'"));
        });
        it("changes rows in place", "", c -> {
            changes(c, "INSERT INTO things (id, name) VALUES (9001, 'u')");
            Statement s = c.createStatement(
                ResultSet.TYPE_SCROLL_SENSITIVE, ResultSet.CONCUR_UPDATABLE);
            ResultSet rows = s.executeQuery("SELECT id, name FROM things WHERE id = 9001");
            rows.next();
            rows.updateString("name", "v");
            rows.updateRow();
            same(1, changes(c, "DELETE FROM things WHERE name = 'v'"));
        });
        it("calls a function", "", c -> {
            CallableStatement s = c.prepareCall("{? = call upper(?)}");
            s.registerOutParameter(1, Types.VARCHAR);
            s.setString(2, "x");
            s.execute();
            same("X", s.getString(1));
        });
        it("looks at a statement", "", c -> {
            PreparedStatement s = c.prepareStatement(ASKED);
            same(1, s.getParameterMetaData().getParameterCount());
            ResultSetMetaData made = c.createStatement().executeQuery(ALL).getMetaData();
            made.isAutoIncrement(1);
            same("expenses", made.getTableName(1));
        });
        metadata();
    }

    static void transactions(Connection c) throws SQLException {
        c.setAutoCommit(false);
        c.setReadOnly(true);
        refused("25006", c, "INSERT INTO scratch VALUES ('x', 1)");
        c.rollback();
        c.setReadOnly(false);
        for (int level : new int[] {1, 2, 4, 8}) {
            c.setTransactionIsolation(level);
            same(level, c.getTransactionIsolation());
            c.rollback();
        }
        asks(c);
        Savepoint point = c.setSavepoint("a b");
        refused("42501", c, CLOSED);
        c.rollback(point);
        asks(c);
        c.commit();
    }

    static void cursors(Connection c) throws SQLException {
        c.setAutoCommit(false);
        ResultSet one = c.createStatement().executeQuery(ALL);
        ResultSet other = c.createStatement().executeQuery(ALL);
        int found = 0;
        for (; one.next(); found++) if (found % 3 == 0) other.next();
        same(100, found);
        same(66, count(other));
        c.commit();
    }

    static void types(Connection c) throws SQLException {
        PreparedStatement s = c.prepareStatement(
            "INSERT INTO things (name, amount, made, flag, tags, doc, raw)"
                + " VALUES (?, ?, ?, ?, ?, ?::jsonb, ?)");
        for (int times = 0; times < 3; times++) {
            s.setString(1, ODD);
            s.setBigDecimal(2, new BigDecimal("12.34"));
            s.setTimestamp(3, new Timestamp(0));
            s.setBoolean(4, false);
            s.setArray(5, c.createArrayOf("text", new String[] {"a", "b,\"c"}));
            s.setString(6, "{\"a\": [1]}");
            s.setBytes(7, new byte[] {0, 1, (byte) 255});
            s.executeUpdate();
        }
        PreparedStatement q = c.prepareStatement("SELECT * FROM things WHERE name = ?");
        q.setString(1, ODD);
        ResultSet rows = q.executeQuery();
        rows.next();
        same("12.34", rows.getBigDecimal("amount"));
        same("b,\"c", ((String[]) rows.getArray("tags").getArray())[1]);
        same(255, rows.getBytes("raw")[2] & 255);
        same("{\"a\": [1]}", rows.getString("doc"));
        same(2, count(rows));
        same(3, changes(c, "DELETE FROM things"));
    }

    /** What tools that draw a database ask before anything else. */
    static void metadata() {
        looks("tables", 4, m -> m.getTables(null, null, "%", null));
        looks("columns", 3, m -> m.getColumns(null, "finance", "expenses", "%"));
        looks("all columns", 9, m -> m.getColumns(null, null, "%", "%"));
        looks("primary keys", 1, m -> m.getPrimaryKeys(null, "finance", "expenses"));
        looks("imported keys", 1, m -> m.getImportedKeys(null, "public", "things"));
        looks("exported keys", 1, m -> m.getExportedKeys(null, "public", "owners"));
        looks("keys between", 1,
            m -> m.getCrossReference(null, "public", "owners", null, "public", "things"));
        looks("indexes", 2, m -> m.getIndexInfo(null, "public", "things", false, true));
        looks("functions", 1, m -> m.getFunctions(null, null, "%"));
        looks("arguments", 1, m -> m.getFunctionColumns(null, "pg_catalog", "upper", "%"));
        looks("procedures", 0, m -> m.getProcedures(null, null, "%"));
        looks("types", 1, m -> m.getTypeInfo());
        looks("own types", 0, m -> m.getUDTs(null, null, "%", null));
        looks("catalogs", 1, m -> m.getCatalogs());
        looks("schemas", 1, m -> m.getSchemas(null, "fin%"));
        looks("kinds of tables", 1, m -> m.getTableTypes());
        looks("grants on tables", 1, m -> m.getTablePrivileges(null, "finance", "expenses"));
        looks("grants on columns", 1, m -> m.getColumnPrivileges(null, "finance", "expenses", "%"));
        looks("row identifiers", 1,
            m -> m.getBestRowIdentifier(null, "finance", "expenses", 0, true));
    }
}
