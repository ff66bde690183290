//! What is asked of the server.

use serde_json::json;
use skranke::kernel::Instant;

use super::chance::{Rng, terms};
use super::load::{Client, Group, Line};
use super::procs::fail;
use super::world::{AGENTS, DAY_US, REQUESTERS, TEAMS, World, tag};

/// Requests of one kind.
#[derive(Clone)]
pub struct Scenario {
    /// Short, for files and for `--only`.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    pub groups: Vec<Group>,
    /// Whether a server that answers 400 simply does not have it yet.
    pub optional: bool,
    /// Whether the chart shows it.
    pub charted: bool,
}

/// How many different tickets are asked for by id.
const IDS: u64 = 100_000;
/// How many tickets get comments.
const COMMENTED: usize = 5_000;
/// How many requesters are asked for.
const BUSIEST: usize = 25;

/// The path of a list with this query; `?` alone lists everything.
fn list(query: &str) -> Vec<Line> {
    vec![Line::get(format!("/v1/tickets{}{query}", if query.is_empty() { "" } else { "?" }))]
}

/// The lists that are held against a limit: one request each, always the same.
pub fn pages(world: &World) -> Vec<(&'static str, &'static str, Line)> {
    let one = |query: String| list(&query).remove(0);
    vec![
        ("page", "page of 50, no filter, 16 connections", one(String::new())),
        ("page-status", "page of 50, `status`, 16 connections", one("status=open".into())),
        ("page-team", "page of 50, `team_id`, 16 connections", one(format!("team_id={}", world.teams[2]))),
        ("page-tag", "page of 50, `tag`, 16 connections", one(format!("tag={}", tag(4)))),
    ]
}

/// A ticket that somebody opens: one of many.
pub fn create(world: &World, rng: &mut Rng) -> Line {
    let priority = rng.pick(&[("normal", 60.0), ("low", 25.0), ("high", 10.0), ("urgent", 5.0)]);
    let body = json!({
        "subject": world.text(rng, 6),
        "description": format!("{} {}", world.text(rng, 25), terms::EVERYWHERE),
        "priority": priority,
        "type": "incident",
        "channel": "web",
        "team_id": world.teams[rng.below(TEAMS)],
        "requester_id": world.requesters[rng.below(REQUESTERS)],
        "tags": [tag(rng.below(20)), tag(20 + rng.below(20))],
        "custom_fields": { "floor": rng.below(9) },
    });
    Line { method: "POST", path: "/v1/tickets".into(), keyed: true, body: body.to_string() }
}

/// Tickets by number: what pgbench can pick by itself.
pub fn by_number(world: &World) -> Vec<Line> {
    let mut rng = Rng::of(world.parameters.seed, 101, 0);
    let size = world.parameters.size;
    (0..IDS.min(size)).map(|_| Line::get(format!("/v1/tickets/{}", 1 + rng.next() % size))).collect()
}

/// Tickets by id.
pub fn by_id(world: &World) -> Vec<Line> {
    let mut rng = Rng::of(world.parameters.seed, 100, 0);
    let size = world.parameters.size;
    (0..IDS.min(size)).map(|_| Line::get(format!("/v1/tickets/{}", world.ticket_id(rng.next() % size)))).collect()
}

/// Everything that is measured at each size.
#[allow(clippy::too_many_lines, reason = "one table")]
pub fn all(world: &World, client: &Client, url: &str) -> Vec<Scenario> {
    let mut rng = Rng::of(world.parameters.seed, 102, 0);
    let until = world.parameters.until_us;
    let back = |days: i64| Instant::from_micros(until - days * DAY_US);
    let some = |n: usize, query: &dyn Fn(usize) -> String| -> Vec<Line> {
        (0..n).map(|nth| Line::get(format!("/v1/tickets?{}", query(nth)))).collect()
    };
    let team = |nth: usize| world.teams[nth % TEAMS];
    let agent = |nth: usize| world.agents[nth * 7 % AGENTS];
    // Those with the most tickets: of them there is a whole page at each size.
    let requester = |nth: usize| world.requesters[nth % BUSIEST];
    let creates: Vec<Line> = (0..2_000).map(|_| create(world, &mut rng)).collect();
    let comments: Vec<Line> = world
        .unclosed(COMMENTED)
        .into_iter()
        .map(|number| {
            let body = json!({ "visibility": "public", "body": world.text(&mut rng, 14) }).to_string();
            Line { method: "POST", path: format!("/v1/tickets/{number}/comments"), keyed: false, body }
        })
        .collect();
    let year = format!("from={}&to={}", back(364), back(0));
    let mut lists = some(TEAMS, &|n| format!("team_id={}", team(n)));
    lists.extend(some(20, &|n| format!("status=open&team_id={}", team(n))));
    lists.extend(some(50, &|n| format!("assignee_id={}&status=open", agent(n))));
    lists.extend(list(""));
    let mixed = vec![(70.0, by_id(world)), (15.0, lists), (10.0, comments.clone()), (5.0, creates.clone())];
    let phrase = format!("q=%22{}%20{}%22", terms::PHRASE.0, terms::PHRASE.1);

    let mut all = Vec::new();
    let mut add = |id, title, lines: Vec<Line>, charted| {
        all.push(Scenario { id, title, groups: vec![(1.0, lines)], optional: false, charted });
    };
    add("ticket", "ticket by id", by_id(world), true);
    add("list", "first page of 50", list(""), true);
    add("list-1000", "page 1,000 by cursor", vec![deep_page(client, url)], true);
    add(
        "list-status",
        "`status`",
        some(6, &|n| {
            let all = ["new", "open", "waiting_requester", "waiting_third_party", "resolved", "closed"];
            format!("status={}", all[n])
        }),
        true,
    );
    add("list-statuses", "`status`, three values", list("status=new,open,waiting_requester"), false);
    add(
        "list-priority",
        "`priority`",
        some(4, &|n| format!("priority={}", ["low", "normal", "high", "urgent"][n])),
        false,
    );
    add("list-type", "`type`", list("type=question"), false);
    add("list-channel", "`channel`", list("channel=phone"), false);
    add("list-team", "`team_id`", some(TEAMS, &|n| format!("team_id={}", team(n))), false);
    add("list-assignee", "`assignee_id`", some(200, &|n| format!("assignee_id={}", agent(n))), false);
    add("list-unassigned", "`assignee_id=none`", list("assignee_id=none"), false);
    add("list-requester", "`requester_id`", some(BUSIEST, &|n| format!("requester_id={}", requester(n))), false);
    add("list-tag", "`tag`", some(40, &|n| format!("tag={}", tag(n))), false);
    add("list-rare-tag", "`tag`, the rarest", list(&format!("tag={}", tag(199))), false);
    add("list-external-id", "`external_id`", list("external_id=alert-4711"), false);
    add("list-created-before", "`created_before`", list(&format!("created_before={}", back(300))), false);
    add("list-created-after", "`created_after`", list(&format!("created_after={}", back(7))), false);
    add("list-updated-before", "`updated_before`", list(&format!("updated_before={}", back(300))), false);
    add("list-updated-after", "`updated_after`", list(&format!("updated_after={}", back(7))), false);
    add("list-breached", "`sla=breached`", list("sla=breached"), true);
    add("list-due", "`sla=due_within:86400`", list("sla=due_within:86400"), false);
    add("sort-updated", "`sort=-updated_at`", list("sort=-updated_at"), false);
    add("sort-priority", "`sort=-priority`", list("sort=-priority"), false);
    add("sort-due", "`sort=due_at`", list("sort=due_at"), false);
    add("pair-status-team", "`status` + `team_id`", some(20, &|n| format!("status=open&team_id={}", team(n))), true);
    add(
        "pair-status-assignee",
        // At the smallest size, an agent has few that are open.
        "`status` + `assignee_id`, five",
        some(100, &|n| format!("status=open&assignee_id={}&limit=5", agent(n))),
        false,
    );
    add("pair-status-priority", "`status` + `priority`", list("status=open&priority=urgent"), false);
    add(
        "pair-team-priority",
        "`team_id` + `priority`",
        some(20, &|n| format!("team_id={}&priority=urgent", team(n))),
        false,
    );
    add(
        "pair-team-unassigned",
        "`team_id` + `assignee_id=none`",
        some(20, &|n| format!("team_id={}&assignee_id=none", team(n))),
        false,
    );
    add(
        "pair-status-requester",
        "`status` + `requester_id`",
        some(BUSIEST, &|n| format!("status=closed&requester_id={}", requester(n))),
        false,
    );
    add("pair-status-tag", "`status` + `tag`", some(40, &|n| format!("status=open&tag={}", tag(n))), false);
    add("pair-team-tag", "`team_id` + `tag`", some(40, &|n| format!("team_id={}&tag={}", team(n), tag(n))), false);
    add(
        "pair-team-created",
        "`team_id` + `created_after`",
        some(20, &|n| format!("team_id={}&created_after={}", team(n), back(30))),
        false,
    );
    add("pair-type-priority", "`type` + `priority`", list("type=problem&priority=urgent"), false);
    add("create", "create, with Idempotency-Key", creates, true);
    add("comment", "comment", comments, true);
    let one = |path: String| vec![Line::get(path)];
    add(
        "summary",
        "summary, 12 months by priority",
        one(format!("/v1/metrics/summary?{year}&group_by=priority")),
        true,
    );
    add(
        "timeseries",
        "time series, 12 months by day",
        one(format!("/v1/metrics/timeseries?{year}&interval=day")),
        true,
    );
    add("backlog", "backlog", one("/v1/metrics/backlog".into()), true);
    add("metrics", "`/metrics`", one("/metrics".into()), true);
    for (id, title, query) in [
        ("search-rare", "search: a rare term", format!("q={}", terms::RARE)),
        ("search-everywhere", "search: a term of every ticket", format!("q={}", terms::EVERYWHERE)),
        ("search-phrase", "search: a phrase", phrase),
        ("search-prefix", "search: a prefix", format!("q={}*", terms::PREFIX)),
        (
            "search-relevance",
            "search: a term of every ticket, by relevance",
            format!("q={}&sort=relevance", terms::EVERYWHERE),
        ),
    ] {
        add(id, title, list(&query), id == "search-rare" || id == "search-everywhere");
    }
    for scenario in &mut all {
        scenario.optional = scenario.id.starts_with("search");
    }
    all.push(Scenario { id: "mixed", title: "mixed load", groups: mixed, optional: false, charted: false });
    all
}

/// The request for page 1,000 of 50, found by walking there.
fn deep_page(client: &Client, url: &str) -> Line {
    let mut path = "/v1/tickets?limit=200".to_owned();
    let mut cursor = None;
    for _ in 0..(999 * 50 / 200) {
        let page = client.expect(url, &Line::get(&path), "");
        let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap_or_default();
        let Some(next) = page["next_cursor"].as_str() else { fail("there are fewer than 1,000 pages") };
        path = format!("/v1/tickets?limit=200&cursor={next}");
        cursor = Some(next.to_owned());
    }
    Line::get(format!("/v1/tickets?cursor={}", cursor.unwrap_or_default()))
}
