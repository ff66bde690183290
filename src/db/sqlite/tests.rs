use diesel::RunQueryDsl;
use diesel::connection::InstrumentationEvent;

use super::*;
use crate::db::conn::EngineConn;

/// Later than any of these tests ends.
fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(600))
}

/// On one thread: what stood still on it would keep the other from saying that it is there.
#[tokio::test]
async fn a_list_that_takes_long_goes_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
    let others = Arc::new(AtomicBool::new(false));
    let served = others.clone();
    let until_others_are_served = async move |conn: &mut Conn| {
        while !served.load(Ordering::Acquire) {
            let count =
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT count(*) FROM n";
            conn.batch(count).await?;
        }
        Ok(())
    };
    let deadline = Deadline::within(Duration::from_secs(30));
    assert!(sqlite.list_in_place(&until_others_are_served, deadline).await.is_none(), "it has had its 10 ms");
    let elsewhere = sqlite.snapshot(until_others_are_served, deadline);
    let (list, ()) = tokio::join!(elsewhere, async { others.store(true, Ordering::Release) });
    assert!(list.is_ok(), "{list:?}");
}

#[tokio::test]
async fn who_cannot_be_committed_fails_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
    let made =
        sqlite.write(async |tx| Ok(tx.batch("CREATE TABLE done (number)").await?), Manner::default(), soon()).await;
    assert!(made.is_ok());
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(Some(gone));
    let wait = async move |_: &mut Conn| {
        // Only the first time: it is done again.
        if let Some(gone) = gone.lock().expect("no panic").take() {
            gone.recv().expect("a sign");
        }
        Ok(())
    };
    let first = sqlite.write(wait, Manner::default(), soon());
    let add = |number: i64, fails: bool| {
        let work = async move |tx: &mut Conn| {
            tx.batch(&format!("INSERT INTO done VALUES ({number})")).await?;
            let last: super::super::conn::LastWork = Box::new(move |tx| {
                Box::pin(async move {
                    let sql = if fails { "INSERT INTO nowhere VALUES (1)" } else { "SELECT 1" };
                    Ok(tx.batch(sql).await?)
                })
            });
            tx.at_last(number, last).await
        };
        sqlite.write(work, Manner::default(), soon())
    };
    let all = tokio::join!(first, add(1, false), add(2, true), add(3, false), async { go.send(()) });
    assert!(matches!(all, (Ok(()), Ok(()), Err(_), Ok(()), Ok(()))), "{all:?}");
    let read = async |conn: &mut Conn| {
        let EngineConn::Sqlite(conn) = &mut conn.line else { return Err(Problem::internal("not SQLite")) };
        Ok(diesel::sql_query("SELECT CAST(group_concat(number) AS TEXT) AS done FROM done")
            .get_result::<NumberRange>(conn)?
            .done)
    };
    assert_eq!(sqlite.read(&read, soon()).await.expect("they are there"), "1,3");
}

#[derive(diesel::QueryableByName)]
struct NumberRange {
    #[diesel(sql_type = diesel::sql_types::Text)]
    done: String,
}

/// Counts to a number that takes as long as one likes.
const COUNT: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000) SELECT max(i) FROM n";

#[tokio::test]
async fn statements_end_when_their_time_is_over_or_nobody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
    let count = async |conn: &mut Conn| Ok(conn.batch(COUNT).await?);
    let in_ms = |ms| Deadline::within(Duration::from_millis(ms));
    let late = |outcome: Result<(), Problem>| outcome.expect_err("it has no end").detail().contains("in time");
    assert!(late(sqlite.read(&count, in_ms(100)).await));
    assert!(late(sqlite.write(count, Manner::default(), in_ms(100)).await));
    // Whoever goes away leaves nothing behind, and neither do those whose time is over.
    for _ in 0..8 {
        let gone = tokio::time::timeout(Duration::from_millis(100), sqlite.snapshot(count, in_ms(600_000))).await;
        assert!(gone.is_err());
    }
    let one = async |conn: &mut Conn| Ok(conn.batch("SELECT 1").await?);
    assert!(sqlite.snapshot(one, in_ms(60_000)).await.is_ok());
    assert!(sqlite.write(one, Manner::default(), soon()).await.is_ok());
    while sqlite.activity.reading.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_takes_long_shuts_out_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
    let count = async |conn: &mut Conn| Ok(conn.batch(COUNT).await?);
    let most = thread::available_parallelism().map_or(1, usize::from).max(2);
    let long = (0..2 * most).map(|_| {
        let sqlite = sqlite.clone();
        tokio::spawn(async move { sqlite.snapshot(count, soon()).await })
    });
    let long: Vec<_> = long.collect();
    // They have every turn, until they turn out to be long.
    let one = async |conn: &mut Conn| Ok(conn.batch("SELECT 1").await?);
    while sqlite.reports.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..4 * most {
        assert!(sqlite.snapshot(one, soon()).await.is_ok());
    }
    // Only as many as may be long are left, or more where nobody has waited.
    assert_eq!(sqlite.long_reports.available_permits(), 0);
    assert!(long.iter().filter(|long| !long.is_finished()).count() >= most);
    long.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn so_many_statements_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let hot = Arc::<AtomicUsize>::default();
    let ear = hot.clone();
    let listener: Listener = Arc::new(move || {
        let hot = ear.clone();
        Box::new(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::CacheQuery { sql, .. } = event {
                hot.fetch_add(usize::from(sql == "SELECT 'hot'"), Ordering::Relaxed);
            }
        })
    });
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), Some(listener)).expect("a file");
    let ask = async |text: String| {
        let work = async |conn: &mut Conn| {
            let EngineConn::Sqlite(conn) = &mut conn.line else { return Err(Problem::internal("not SQLite")) };
            let text = text.clone();
            Ok(crate::db::RunQueryDsl::get_result::<_, String>(
                diesel::select(super::super::raw::raw::<diesel::sql_types::Text>(text)),
                conn,
            )
            .await?)
        };
        sqlite.read(&work, soon()).await.expect("an answer")
    };
    for n in 0..5_000 {
        ask(format!("'{n}'")).await;
        ask("'hot'".into()).await;
        let readers = sqlite.readers.lock().expect("no panic");
        let kept = readers.iter().map(|conn| conn.prepared.load(Ordering::Relaxed)).max();
        assert!(kept.is_some_and(|kept| kept <= MOST_PREPARED), "{kept:?}");
    }
    let hot = hot.load(Ordering::Relaxed);
    assert!((1..=5_000 / MOST_PREPARED + 2).contains(&hot), "prepared {hot} times");
}

#[tokio::test]
async fn what_a_group_does_at_last_is_done_by_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let wait = async move |_: &mut Conn| {
        gone.lock().expect("no panic").recv().expect("a sign");
        Ok(())
    };
    let first = sqlite.write(wait, Manner::default(), soon());
    let done = Arc::<Mutex<Vec<i64>>>::default();
    let at_last = |place: i64| {
        let done = done.clone();
        let work = async move |tx: &mut Conn| {
            let done = done.clone();
            let last = async move {
                done.lock().expect("no panic").push(place);
                Ok(())
            };
            tx.at_last(place, Box::new(|_| Box::pin(last))).await
        };
        sqlite.write(work, Manner::default(), soon())
    };
    // They wait behind the first one when it is let go.
    let all = tokio::join!(first, at_last(3), at_last(1), at_last(i64::MAX), at_last(2), async { go.send(()) });
    assert!(matches!(all, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))));
    assert_eq!(*done.lock().expect("no panic"), [1, 2, 3, i64::MAX]);
}

/// Changes `rows` rows of two tables in turn, as a write of many tickets does; tells how long that took.
async fn change(sqlite: &Sqlite, rows: i64, manner: Manner) -> Duration {
    let begun = std::time::Instant::now();
    let work = async move |tx: &mut Conn| {
        for id in 1..=rows {
            // Twice: what the second of them touches has been touched before.
            for team in [2, 1] {
                let sql = format!("UPDATE t SET team = {team} WHERE id IN ({id}, {id} + 1)");
                tx.batch(&sql).await?;
            }
        }
        Ok(())
    };
    sqlite.write(work, manner, soon()).await.expect("a commit");
    begun.elapsed()
}

async fn filled(path: &Path, rows: i64) -> Arc<Sqlite> {
    let sqlite = Sqlite::open(path, None).expect("a file");
    let fill = async move |tx: &mut Conn| {
        tx.batch("CREATE TABLE teams (id INTEGER PRIMARY KEY); INSERT INTO teams VALUES (1), (2)").await?;
        tx.batch("CREATE TABLE t (id INTEGER PRIMARY KEY, team REFERENCES teams, body TEXT)").await?;
        let from = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {rows})");
        tx.batch(&format!("{from} INSERT INTO t SELECT i, 1, hex(zeroblob(1000)) FROM n")).await?;
        Ok(())
    };
    sqlite.write(fill, Manner::default(), soon()).await.expect("rows");
    sqlite
}

#[tokio::test]
async fn a_write_by_itself_costs_as_much_as_it_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = filled(&folder.path().join("skranke.db"), 8_000).await;
    for manner in [
        Manner { apart: true, ..Manner::default() },
        Manner { alone: true, ..Manner::default() },
        Manner { patient: true, apart: true, alone: false },
    ] {
        let (mut few, mut many) = (Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            few = few.min(change(&sqlite, 1_000, manner).await);
            many = many.min(change(&sqlite, 8_000, manner).await);
        }
        // Eight times as many; with a savepoint around them it was 50 times as long and more.
        assert!(many < few * 20, "1,000 rows take {few:?}, and 8,000 rows {many:?}");
    }
}

#[tokio::test]
async fn a_write_by_itself_is_undone_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = filled(&folder.path().join("skranke.db"), 10).await;
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let wait = async move |_: &mut Conn| {
        gone.lock().expect("no panic").recv().expect("a sign");
        Ok(())
    };
    let set = |id: i64, manner: Manner, well: bool| {
        let work = async move |tx: &mut Conn| {
            tx.batch(&format!("UPDATE t SET team = 2 WHERE id = {id}")).await?;
            if well { Ok(()) } else { Err(Problem::not_found()) }
        };
        sqlite.write(work, manner, soon())
    };
    let (grouped, apart) = (Manner::default(), Manner { apart: true, ..Manner::default() });
    // They wait behind the first one when it is let go.
    let (first, a, b, c, d, e, sign) = tokio::join!(
        sqlite.write(wait, grouped, soon()),
        set(1, grouped, true),
        set(2, apart, false),
        set(3, grouped, true),
        set(4, apart, true),
        set(5, grouped, false),
        async { go.send(()) }
    );
    assert!(first.is_ok() && a.is_ok() && c.is_ok() && d.is_ok() && sign.is_ok());
    for failed in [b, e] {
        assert_eq!(failed.expect_err("it fails").code(), crate::kernel::Code::NotFound);
    }
    #[derive(diesel::QueryableByName)]
    struct Changed {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        id: i64,
    }
    let changed = sqlite
        .read(
            &async |conn: &mut Conn| {
                let EngineConn::Sqlite(sqlite) = &mut conn.line else { return Ok(Vec::new()) };
                Ok(diesel::sql_query("SELECT id FROM t WHERE team = 2 ORDER BY id").load::<Changed>(sqlite)?)
            },
            soon(),
        )
        .await
        .expect("rows");
    assert_eq!(changed.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 3, 4]);
}
