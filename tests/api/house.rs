//! Rules of the house that a machine can keep: the direction between rooms, the doors of a room, the table of codes,
//! the table of settings, and the two schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use skranke::kernel::Code;

use crate::support::{Engine, Store};

/// The rooms, from left to right. A room imports only from those before it.
const ROOMS: [&str; 21] = [
    "kernel",
    "db",
    "http",
    "audit",
    "auth",
    "people",
    "tally",
    "sla",
    "tickets",
    "files",
    "comments",
    "time_entries",
    "overview",
    "alerts",
    "bulk",
    "imports",
    "metrics",
    "changes",
    "exports",
    "webhooks",
    "app",
];

/// The doors that a room may have; other files are behind them.
const DOORS: [&str; 7] = ["mod.rs", "routes.rs", "wire.rs", "policy.rs", "domain.rs", "service.rs", "store.rs"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn rooms_import_only_leftwards() {
    let import = regex::Regex::new(r"crate::(\w+)").unwrap();
    let group = regex::Regex::new(r"use crate::\{([^;]*)\};").unwrap();
    let there: BTreeSet<_> = std::fs::read_dir(root().join("src"))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, ROOMS.iter().map(|r| (*r).to_owned()).collect(), "a new room takes its place in ROOMS");
    for (place, room) in ROOMS.iter().enumerate() {
        for path in files(&root().join("src").join(room)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut named: Vec<String> = import.captures_iter(&text).map(|c| c[1].to_owned()).collect();
            for names in group.captures_iter(&text) {
                named.extend(names[1].split(',').filter_map(|n| n.trim().split("::").next().map(str::to_owned)));
            }
            for name in named {
                if let Some(other) = ROOMS.iter().position(|r| *r == name) {
                    assert!(
                        other <= place,
                        "{}: {room} may not import from {name}, which is to its right",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn unsafe_code_stands_in_one_place() {
    let allows = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("allow(unsafe_code");
    let found: Vec<_> = files(&root().join("src")).into_iter().filter(allows).collect();
    assert_eq!(found, [root().join("src/db/interrupt.rs")]);
}

#[test]
fn what_is_pure_stays_pure() {
    for room in ROOMS {
        let folder = root().join("src").join(room);
        for (file, banned) in [
            ("domain.rs", ["diesel_async", "actix_web", "crate::db", "async fn"].as_slice()),
            ("store.rs", ["actix_web", "Clock::system", "HttpResponse"].as_slice()),
        ] {
            let Ok(text) = std::fs::read_to_string(folder.join(file)) else { continue };
            // A record is a row: its fields are columns.
            let text = text.replace("crate::db::schema", "");
            for word in banned {
                assert!(!text.contains(word), "{room}/{file} has no business with {word}");
            }
        }
    }
}

/// Code is broken by `cargo fmt`, which leaves comments as they are.
#[test]
fn comments_have_lines_of_120_characters_at_most() {
    for path in files(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (nth, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//")) {
            assert!(
                line.chars().count() <= 120,
                "{}:{} is a comment of more than 120 characters",
                path.display(),
                nth + 1
            );
        }
    }
}

/// A query is written once for both engines. What has to be said differently to each stands in one place of a room.
#[test]
fn engines_are_told_apart_in_dialects_alone() {
    for path in ROOMS.iter().filter(|room| **room != "db").flat_map(|room| files(&root().join("src").join(room))) {
        let place = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let tells_apart = text.contains("EngineConn");
        let is_dialect = place.contains("/store/dialect/") || place.ends_with("/store/dialect.rs");
        assert!(
            is_dialect || !tells_apart,
            "{place}: what differs by engine belongs into store/dialect.rs, or into db"
        );
    }
}

/// Who reads a name knows what it stands for, wherever it is.
#[test]
fn a_type_name_has_one_meaning() {
    let named = regex::Regex::new(
        r"(?m)^(?:\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union)|(?:pub(?:\([^)]*\))? )?type) (\w+)",
    );
    let (named, mut places) = (named.unwrap(), BTreeMap::<String, Vec<PathBuf>>::new());
    for path in files(&root().join("src")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in named.captures_iter(&text) {
            places.entry(name[1].to_owned()).or_default().push(path.clone());
        }
    }
    assert!(places.len() > 300, "types are found: {}", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "one name, several types: {places:#?}");
}

/// What is stored, and by which rules, does not depend on how it is asked for.
#[test]
fn no_store_and_no_domain_knows_of_http() {
    for path in ROOMS.iter().flat_map(|room| files(&root().join("src").join(room))) {
        let place = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let is_below = |door: &str| place.contains(&format!("/{door}/")) || place.ends_with(&format!("/{door}.rs"));
        if is_below("store") || is_below("domain") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("crate::http"), "{place} has no business with crate::http");
        }
    }
}

#[test]
fn every_room_says_what_it_owns_and_a_wide_door_is_a_folder_of_its_name() {
    for room in ROOMS {
        let folder = root().join("src").join(room);
        let text = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
        assert!(text.starts_with("//! "), "{room}/mod.rs says what the room owns");
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir()) {
            let name = entry.file_name().into_string().unwrap();
            let has_doors = !["kernel", "db", "http", "app"].contains(&room);
            assert!(!has_doors || DOORS.contains(&format!("{name}.rs").as_str()), "{room}/{name} is no door");
            assert!(folder.join(format!("{name}.rs")).is_file(), "{room}/{name} has its {name}.rs");
        }
        // Handlers stand behind `routes` alone, wherever they are.
        for path in files(&folder).iter().filter(|path| room != "app" && !path.to_string_lossy().contains("routes")) {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(!text.contains("#[utoipa::path"), "{}: handlers belong into routes", path.display());
        }
    }
}

/// Every code that an answer can carry is provoked by a test; the one exception is a fault that nobody knows of.
#[test]
fn every_code_is_reached_by_a_test() {
    let tests: String = files(&root().join("tests"))
        .iter()
        .filter(|path| !path.ends_with("house.rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for code in Code::ALL.iter().filter(|code| **code != Code::Internal) {
        assert!(tests.contains(&format!("\"{}\"", code.as_str())), "no test expects {}", code.as_str());
    }
}

/// `room::name` in the documentation is a test in `tests/api/room.rs`.
#[test]
fn every_test_that_the_documentation_names_is_there() {
    let named = regex::Regex::new(r"`([a-z_]+)::([a-z_0-9]+)`").unwrap();
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut count = 0;
    for (_, [room, name]) in named.captures_iter(&text).map(|found| found.extract()) {
        let Ok(tests) = std::fs::read_to_string(root().join(format!("tests/api/{room}.rs"))) else { continue };
        assert!(tests.contains(&format!("fn {name}(")), "docs/security.md names {room}::{name}, which is not there");
        count += 1;
    }
    assert!(count > 40, "{count} tests are named");
}

/// Both migrations make the same tables, columns and indexes, and every foreign key has an index that begins with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_schemas_agree() {
    let mut seen = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let store = Store::make(engine).await;
        let db = skranke::db::Db::open(&store.url, 2, std::time::Duration::from_secs(5)).unwrap();
        db.migrate().await.unwrap();
        let shape = store.shape().await;
        for key in &shape.foreign_keys {
            assert!(shape.indexes.iter().any(|index| index.starts_with(key)), "{engine:?}: no index begins with {key}");
        }
        seen.push(shape);
        store.drop().await;
    }
    assert_eq!(seen[0].columns, seen[1].columns);
    assert_eq!(seen[0].indexes, seen[1].indexes);
    assert_eq!(seen[0].foreign_keys, seen[1].foreign_keys);
    assert!(seen[0].columns.len() > 80 && seen[0].foreign_keys.len() > 10);
}
