//! The tables of the documentation that follow from the code: settings, limits and series. Each stands between two
//! comments in its page; with `SKRANKE_TEST_WRITE=1` in the environment it is written anew instead of compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use skranke::app::config::SETTINGS;
use skranke::{
    alerts, audit, bulk, files, http, imports, kernel, metrics, overview, people, sla, tickets, time_entries, webhooks,
};

use crate::start::Place;
use crate::support::{Engine, Store};

/// The table `name` in `docs/{page}` is `rows` below `head`.
fn assert_table(page: &str, name: &str, head: &str, rows: impl IntoIterator<Item = String>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- {name}: made from the code, see tests/api/reference.rs -->\n");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("docs/{page} lacks: {begin}"));
    let (written, after) = rest.split_once("<!-- end -->").unwrap();
    let columns = head.matches('|').count() - 1;
    let rows: String = rows.into_iter().map(|row| row + "\n").collect();
    let made = format!("{head}\n|{}\n{rows}", "---|".repeat(columns));
    if std::env::var_os("SKRANKE_TEST_WRITE").is_some() {
        std::fs::write(&path, format!("{before}{begin}{made}<!-- end -->{after}")).unwrap();
        return;
    }
    assert!(
        written == made,
        "docs/{page} is stale; mend it by: SKRANKE_TEST_WRITE=1 tests/run.sh --only-tests --test api -- reference::\nIt should be:\n{made}"
    );
}

#[test]
fn settings() {
    let code = |default: &str| if default.is_empty() { String::new() } else { format!("`{default}`") };
    let row = |setting: &skranke::app::config::Setting| {
        format!("| `{}` | {} | {} |", setting.key, code(setting.default), setting.doc)
    };
    assert_table("settings.md", "settings", "| setting | default | what it does |", SETTINGS.iter().map(row));
}

#[test]
fn limits() {
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
    let thousands = |n: i64| {
        let digits = n.to_string();
        let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
        parts.join(",")
    };
    let count = |n: usize| thousands(i64::try_from(n).unwrap());
    let rows = [
        ("bytes of a page, unless one item alone has more", mib(kernel::rows::MOST_B)),
        ("values of a parameter that takes several", count(http::query::MOST_VALUES)),
        ("faults that a problem lists; of further ones their number", count(kernel::fault::MOST_TOLD)),
        ("bytes of a ticket's `custom_fields`, as JSON", kib(kernel::fields::LARGEST_B)),
        ("levels of `custom_fields` in one another", count(kernel::fields::DEEPEST)),
        ("tags of a ticket", count(tickets::wire::MOST_TAGS)),
        ("files that are attached at once", count(tickets::wire::MOST_FILES_AT_ONCE)),
        (
            "files of a ticket and its public comments, and of its internal ones",
            thousands(tickets::service::MOST_FILES),
        ),
        (
            "bytes of files that a requester sends in 24 hours",
            mib(usize::try_from(files::domain::MOST_B_A_DAY).unwrap()),
        ),
        ("files that one sends at once", count(files::service::cabinet::MOST_OF_ONE)),
        ("characters of a file's name", count(files::domain::head::LONGEST_NAME)),
        ("seconds that a link to a file is good", thousands(files::domain::LONGEST_LINK_S)),
        ("changes of a ticket's status, but for those that end it", count(sla::domain::clock::MOST_STEPS)),
        ("bytes of a ticket's edits in its audit trail", mib(usize::try_from(audit::domain::MOST_EDITED_B).unwrap())),
        (
            "bytes of such edits before requesters may add none",
            mib(usize::try_from(audit::domain::MOST_EDITED_BY_REQUESTERS_B).unwrap()),
        ),
        ("characters of a search", count(tickets::domain::search::LONGEST_QUERY)),
        ("tickets of a page that tells where a search was found", count(tickets::routes::MOST_HIGHLIGHTED)),
        ("comments that are counted of a ticket for a row of a list", thousands(tickets::store::talk::MOST_COUNTED)),
        ("lists that are counted at once", count(tickets::wire::counts::MOST_FILTERS)),
        ("tickets that are counted of one list", count(tickets::wire::counts::MOST_COUNTED)),
        ("tickets that a list takes by `ids`", count(tickets::wire::MOST_NAMED)),
        ("people that a list takes by `ids`", count(people::wire::MOST_PEOPLE_NAMED)),
        ("words of a search for people", count(people::domain::MOST_BEGINNINGS)),
        ("saved views of one person", thousands(tickets::domain::view::MOST_VIEWS)),
        ("bytes of the filters of a saved view", count(tickets::wire::views::LARGEST_FILTER_B)),
        ("bytes of each part that comes with a ticket by `include`", count(overview::service::MOST_OF_A_PART_B)),
        ("seconds of a time entry", thousands(time_entries::domain::MOST_WORK_S)),
        ("SLA policies", thousands(sla::domain::policies::MOST_POLICIES)),
        ("targets of a policy", count(sla::domain::policies::MOST_TARGETS)),
        ("values of a list in a policy's condition", count(sla::domain::policies::MOST_VALUES)),
        ("shifts of a weekday in a calendar", count(sla::domain::calendar::MOST_SHIFTS)),
        ("holidays of a calendar", count(sla::domain::calendar::MOST_HOLIDAYS)),
        ("webhooks", thousands(webhooks::domain::MOST_WEBHOOKS)),
        ("bytes of a webhook's URL", count(webhooks::domain::egress::LONGEST_URL_B)),
        ("bytes of a message of a webhook", count(webhooks::domain::message::LARGEST_BODY_B)),
        ("deliveries of a webhook that one call queues again", thousands(webhooks::service::REPLAYED_AT_ONCE)),
        ("alerts in one message", count(alerts::wire::intake::MOST_ALERTS)),
        ("bytes of a message of alerts", mib(alerts::wire::intake::MOST_BODY_B)),
        ("sources of alerts", thousands(alerts::domain::source::MOST_SOURCES)),
        ("labels of an alert, and annotations; further ones are left out", count(alerts::domain::signal::MOST_LABELS)),
        ("bytes of a label; the rest is left out", count(alerts::domain::signal::LONGEST_VALUE)),
        ("operations of a request that has several", count(bulk::wire::MOST_OPERATIONS)),
        ("bytes of such a request", mib(bulk::wire::MOST_BODY_B)),
        ("bytes of an import by HTTP", mib(usize::try_from(imports::wire::MOST_BODY_B).unwrap())),
        ("bytes of a line of an import", mib(imports::wire::LONGEST_LINE_B)),
        ("entries of a ticket's past in an import", count(imports::wire::MOST_ENTRIES)),
        ("groups of a report", count(metrics::domain::figures::MOST_GROUPS)),
        ("groups of which a report chooses the largest", count(metrics::domain::figures::MOST_READ)),
        ("steps of a timeseries", count(metrics::domain::window::MOST_STEPS)),
        ("points of a timeseries, in all its groups together", count(metrics::domain::figures::MOST_POINTS)),
        ("hours for which the answer of an `Idempotency-Key` is kept", thousands(http::idempotency::KEPT_S / 3600)),
        ("bytes of answers that are made and not yet taken, of all clients together", mib(http::unsent::MOST_B)),
    ];
    let rows = rows.map(|(what, most)| format!("| {what} | {most} |"));
    assert_table("limits.md", "limits", "| what | at most |", rows);
}

/// By what a running instance says of itself. What differs by engine is there twice and told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series() {
    let mut rows = BTreeMap::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let store = Store::make(engine).await;
        let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
        let server = place.start().await;
        let agent = place.person("agent").await;
        // Of a kind of request there is a series once one was answered.
        server.get("/v1/me").by(&agent).expect(200).await;
        let text = server.get("/metrics").by(&agent).expect(200).await.text();
        rows.extend(families(&text).into_iter().map(|family| (family.name.clone(), family.row())));
        server.stop().await;
        store.drop().await;
    }
    assert!(rows.len() > 15);
    assert_table("monitoring.md", "series", "| series | type | labels | what it says |", rows.into_values());
}

struct Family {
    name: String,
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

impl Family {
    fn row(&self) -> String {
        let labels = self.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        format!("| `{}` | {} | {labels} | {} |", self.name, self.kind, self.help)
    }
}

/// The families of an answer in OpenMetrics.
fn families(text: &str) -> Vec<Family> {
    let mut all: Vec<Family> = Vec::new();
    let label = regex::Regex::new(r#"(\w+)="(?:[^"\\]|\\.)*""#).unwrap();
    let mut help = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, said] => {
                drop(help.insert((*name).to_owned(), (*said).trim_end_matches('.').to_owned()))
            }
            ["#", "TYPE", name, kind] => {
                let (name, kind) = ((*name).to_owned(), (*kind).to_owned());
                all.push(Family { name, kind, help: String::new(), labels: BTreeSet::new() });
            }
            ["#", ..] => {}
            _ => {
                let family = all.last_mut().unwrap();
                let own = label.captures_iter(line).map(|found| found[1].to_owned()).filter(|name| name != "le");
                family.labels.extend(own);
            }
        }
    }
    for family in &mut all {
        family.help = help.remove(&family.name).unwrap_or_default();
        family.name += match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
    }
    all
}
