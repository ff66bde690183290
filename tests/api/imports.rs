//! Imports: a past that was elsewhere is what it would have been here.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skranke::webhooks::service::hand_out;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::on_both;
use crate::start::Place;
use crate::support::{Answer, Caller, Chance, Desk, Engine, Store, seed};

/// Sends lines; gives what became of each.
async fn import(desk: &Desk, who: &Caller, query: &str, lines: &[Value]) -> Vec<Value> {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    answered(&desk.post(&format!("/v1/imports{query}")).by(who).raw("application/x-ndjson", body).expect(200).await)
}

fn answered(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ticket(external_id: &str, timeline: Value) -> Value {
    json!({ "ticket": { "external_id": external_id, "subject": external_id, "requester": { "email": "ada@example.org", "name": "Ada" },
        "reported_at": "2021-03-02T08:00:00Z", "timeline": timeline } })
}

fn agent_line() -> Value {
    json!({ "person": { "email": "grace@example.org", "external_id": "user-1", "name": "Grace", "role": "agent" } })
}

/// A past of two hours: answered after a quarter of an hour, solved after one hour and a half, closed after two.
fn two_hours() -> Value {
    let grace = json!({ "external_id": "user-1" });
    json!([
        { "at": "2021-03-02T08:15:00Z", "actor": grace, "comment": { "visibility": "public", "body": "On my way." } },
        { "at": "2021-03-02T08:20:00Z", "actor": grace, "assignee": grace, "priority": "urgent" },
        { "at": "2021-03-02T08:30:00Z", "actor": grace, "comment": { "visibility": "internal", "body": "It burns." }, "work_s": 600 },
        { "at": "2021-03-02T08:45:00Z", "actor": grace, "status": "pending" },
        { "at": "2021-03-02T09:15:00Z", "actor": { "email": "ada@example.org" }, "comment": { "visibility": "public", "body": "Here I am." } },
        { "at": "2021-03-02T09:30:00Z", "actor": grace, "status": "solved" },
        { "at": "2021-03-02T10:00:00Z", "status": "closed" },
    ])
}

on_both! {
    async fn a_past_is_what_it_would_have_been(desk) {
        let (admin, watcher) = (desk.admin().await, desk.admin().await);
        let lines = [agent_line(), json!({ "ticket": { "external_id": "z-1", "number": 4711, "subject": "Fire", "requester": { "email": "Ada@example.org", "name": "Ada" },
            "reported_at": "2021-03-02T08:00:00Z", "channel": "phone", "tags": ["printer"], "custom_fields": { "floor": 2 }, "timeline": two_hours() } })];
        let told = import(desk, &admin, "?source=zendesk", &lines).await;
        assert_eq!((told.len(), &told[0]["ok"], &told[0]["kind"], &told[0]["result"]), (2, &json!(true), &json!("person"), &json!("created")));
        assert_eq!((&told[1]["line"], &told[1]["ok"], &told[1]["number"], &told[1]["external_id"], &told[1]["result"]), (&json!(2), &json!(true), &json!(4711), &json!("z-1"), &json!("created")));
        let ticket = desk.get("/v1/tickets/4711").by(&admin).expect(200).await.body;
        assert_eq!(ticket["id"], told[1]["id"]);
        for (field, expected) in [("status", json!("closed")), ("priority", json!("urgent")), ("channel", json!("phone")), ("external_id", json!("z-1")), ("tags", json!(["printer"])),
            ("created_at", json!("2021-03-02T08:00:00.000000Z")), ("started_at", json!("2021-03-02T08:15:00.000000Z")), ("first_replied_at", json!("2021-03-02T08:15:00.000000Z")),
            ("resolved_at", json!("2021-03-02T09:30:00.000000Z")), ("closed_at", json!("2021-03-02T10:00:00.000000Z")), ("reopen_count", json!(0)), ("clocks", json!([]))] {
            assert_eq!(ticket[field], expected, "{field}");
        }
        assert_eq!((&ticket["assignee"]["name"], &ticket["requester"]["name"], &ticket["created_by"]["name"]), (&json!("Grace"), &json!("Ada"), &json!("Grace")));
        let seconds = |name: &str| ticket["durations"][name]["calendar_s"].as_i64();
        // Opened at 8:15, waiting from 8:45 to 9:15, solved at 9:30.
        assert_eq!((seconds("response"), seconds("first_reply"), seconds("service"), seconds("resolution")), (Some(900), Some(900), Some(2_700), Some(5_400)));
        let events = desk.all(&admin, "/v1/tickets/4711/events").await;
        let kinds: Vec<_> = events.iter().map(|event| (event["type"].as_str().unwrap(), &event["at"].as_str().unwrap()[11..16])).collect();
        assert_eq!(kinds, [("ticket.created", "08:00"), ("comment.added", "08:15"), ("ticket.updated", "08:15"), ("ticket.updated", "08:20"), ("comment.added", "08:30"),
            ("time_entry.added", "08:30"), ("ticket.updated", "08:45"), ("comment.added", "09:15"), ("ticket.updated", "09:15"), ("ticket.updated", "09:30"), ("ticket.updated", "10:00")]);
        let comments = desk.all(&admin, "/v1/tickets/4711/comments").await;
        assert_eq!(comments.iter().map(|comment| comment["created_at"].as_str().unwrap()[11..16].to_owned()).collect::<Vec<_>>(), ["08:15", "08:30", "09:15"]);
        assert_eq!((&comments[0]["author"]["kind"], &comments[2]["author"]["kind"]), (&json!("agent"), &json!("requester")));
        // The feed tells it, as what it is.
        desk.sequence().await;
        let changes = desk.get("/v1/changes?from=start&limit=200").by(&watcher).expect(200).await.body["items"].clone();
        assert_eq!(changes.as_array().unwrap().iter().filter(|item| item["origin"] == "import").count(), 11);
        // The figures of then have it, and those of now do not.
        let figures = |window: &str| desk.get(&format!("/v1/metrics/summary?{window}")).by(&admin).expect(200);
        let then = figures("from=2021-03-01T00:00:00Z&to=2021-03-03T00:00:00Z").await.body["total"].clone();
        assert_eq!((&then["tickets"]["created"], &then["tickets"]["resolved"], &then["durations"]["service"]["calendar"]["mean_s"]), (&json!(1), &json!(1), &json!(2700.0)));
        assert_eq!(then["cost"]["work_s"], json!(600));
        let now = figures("from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z").await.body["total"].clone();
        assert_eq!((&now["tickets"]["created"], &now["tickets"]["resolved"]), (&json!(0), &json!(0)));
        // New ones get numbers behind it, and it is found by its words.
        assert_eq!(desk.ticket(&admin, json!({})).await["number"], json!(4712));
        while skranke::tickets::service::index_waiting(&desk.db.patient(), 100).await.unwrap() > 0 {}
        assert_eq!(desk.get("/v1/tickets?q=burns").by(&admin).expect(200).await.body["items"][0]["number"], json!(4711));
        assert_eq!(desk.get("/v1/tickets?external_id=z-1").by(&admin).expect(200).await.body["items"][0]["number"], json!(4711));
        desk.rows_are_right().await;
    }

    async fn the_same_again_changes_nothing_and_more_of_it_goes_on(desk) {
        let admin = desk.admin().await;
        let all = two_hours();
        let some = |count: usize| json!(all.as_array().unwrap()[..count]);
        let send = async |count: usize| {
            let told = import(desk, &admin, "", &[agent_line(), ticket("t", some(count))]).await;
            (told[1]["result"].as_str().unwrap_or("none").to_owned(), told[1]["problem"]["code"].as_str().map(str::to_owned))
        };
        assert_eq!(send(3).await, ("created".into(), None));
        let first = desk.get("/v1/tickets/1").by(&admin).expect(200).await.bytes;
        let people = desk.all(&admin, "/v1/users").await.len();
        assert_eq!(send(3).await, ("unchanged".into(), None));
        assert_eq!(desk.get("/v1/tickets/1").by(&admin).expect(200).await.bytes, first);
        assert_eq!((send(5).await, send(7).await, send(4).await), (("continued".into(), None), ("continued".into(), None), ("none".into(), Some("conflict".into()))));
        // As if it had been sent at once.
        let whole = import(desk, &admin, "?source=other", &[agent_line(), ticket("t", all.clone())]).await;
        assert_eq!(whole[1]["result"], json!("created"));
        let plain = async |number: i64| {
            let mut ticket = desk.get(&format!("/v1/tickets/{number}")).by(&admin).expect(200).await.body;
            for field in ["id", "number", "external_id"] {
                ticket[field] = Value::Null;
            }
            ticket
        };
        assert_eq!(plain(1).await, plain(2).await);
        let kinds = async |number: i64| desk.all(&admin, &format!("/v1/tickets/{number}/events")).await.iter().map(|event| (event["type"].clone(), event["at"].clone())).collect::<Vec<_>>();
        assert_eq!(kinds(1).await, kinds(2).await);
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), people);
        // What was closed does not go on.
        let mut more = all.clone();
        more.as_array_mut().unwrap().push(json!({ "at": "2021-03-02T11:00:00Z", "status": "open" }));
        let closed = import(desk, &admin, "", &[ticket("t", more)]).await;
        assert_eq!(closed[0]["problem"]["code"], json!("conflict"));
        // Another past is none of it, and what has happened here ends it.
        let other = import(desk, &admin, "", &[ticket("t", json!([{ "at": "2021-03-02T08:15:00Z", "status": "open" }]))]).await;
        assert_eq!(other[0]["problem"]["code"], json!("conflict"));
        import(desk, &admin, "", &[agent_line(), ticket("u", some(2))]).await;
        desk.patch("/v1/tickets/3").by(&admin).json(&json!({ "priority": "low" })).expect(200).await;
        let ended = import(desk, &admin, "", &[ticket("u", some(3))]).await;
        assert_eq!(ended[0]["problem"]["code"], json!("conflict"));
        assert_eq!(import(desk, &admin, "", &[ticket("u", some(2))]).await[0]["result"], json!("unchanged"));
        desk.rows_are_right().await;
    }

    async fn bad_lines_are_told_by_their_numbers_and_leave_nothing(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let good = |n: i64| ticket(&format!("t{n}"), json!([])).to_string();
        let lines = [
            good(1), "{".into(), String::new(), json!({ "organisation": { "name": "x" } }).to_string(), good(2), "7".into(),
            json!({ "ticket": { "external_id": "x", "subject": "", "reported_at": "yesterday", "nope": 1 } }).to_string(),
            ticket("future", json!([{ "at": "2999-01-01T00:00:00Z", "status": "open" }])).to_string(),
            ticket("odd", json!([{ "at": "2021-03-02T09:00:00Z", "status": "burning" }])).to_string(),
            ticket("nobody", json!([{ "at": "2021-03-02T09:00:00Z", "actor": { "name": "Nobody" }, "status": "open" }])).to_string(),
            json!({ "person": { "name": "Without a key" } }).to_string(), json!({ "person": { "email": "x@example.org", "name": "X" }, "ticket": {} }).to_string(),
            format!("{{\"ticket\": {{\"subject\": \"{}\"}}}}", "x".repeat(10)), good(3),
        ];
        let answer = desk.post("/v1/imports").by(&admin).raw("application/x-ndjson", lines.join("\n")).expect(200).await;
        let told: Vec<(i64, bool)> = answered(&answer).iter().map(|line| (line["line"].as_i64().unwrap(), line["ok"].as_bool().unwrap())).collect();
        assert_eq!(told, [(1, true), (2, false), (4, false), (5, true), (6, false), (7, false), (8, false), (9, false), (10, false), (11, false), (12, false), (13, false), (14, true)]);
        let problem = |nth: usize| answered(&answer)[nth]["problem"].clone();
        assert_eq!((&problem(1)["code"], &problem(5)["code"]), (&json!("malformed_json"), &json!("validation_failed")));
        let places: Vec<_> = problem(5)["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
        assert_eq!(places, ["/ticket/nope", "/ticket/reported_at", "/ticket/subject"]);
        assert_eq!((&problem(6)["errors"][0]["pointer"], &problem(7)["errors"][0]["pointer"], &problem(8)["errors"][0]["pointer"]),
            (&json!("/ticket/timeline/0/at"), &json!("/ticket/timeline/0/status"), &json!("/ticket/timeline/0/actor")));
        assert_eq!(desk.all(&admin, "/v1/tickets").await.len(), 3);
        // Who may not, and what is no import.
        desk.post("/v1/imports").by(&agent).raw("application/x-ndjson", good(9)).refused(403, "forbidden").await;
        desk.post("/v1/imports").by(&admin).json(&json!({})).refused(415, "unsupported_media_type").await;
        desk.post("/v1/imports?judge=me").by(&admin).raw("application/x-ndjson", good(9)).refused(400, "invalid_query").await;
        desk.post("/v1/imports").by(&admin).header("if-match", "\"1\"").raw("application/x-ndjson", good(9)).refused(412, "version_mismatch").await;
        let long = desk.post("/v1/imports").by(&admin).raw("application/x-ndjson", format!("{}\n{}", good(1), "x".repeat(5 << 20))).expect(200).await;
        let told = answered(&long);
        assert_eq!((told.len(), &told[0]["result"], &told[1]["problem"]["code"]), (2, &json!("unchanged"), &json!("body_too_large")));
        // What is behind such a line is taken.
        let lines = format!("{}\n{}\n{}", "x".repeat(9 << 20), good(1), good(4));
        let told = answered(&desk.post("/v1/imports").by(&admin).raw("application/x-ndjson", lines).expect(200).await);
        let results: Vec<_> = told.iter().map(|line| (line["line"].as_i64().unwrap(), line["result"].as_str())).collect();
        assert_eq!(results, [(1, None), (2, Some("unchanged")), (3, Some("created"))]);
        // A number of a line that is refused is not passed, and one that is far ahead makes no export slow.
        let mut far = ticket("far", json!([{ "at": "2999-01-01T00:00:00Z", "status": "open" }]));
        far["ticket"]["number"] = json!(900_000_000);
        assert_eq!(import(desk, &admin, "", &[far.clone()]).await[0]["ok"], json!(false));
        assert!(desk.ticket(&admin, json!({})).await["number"].as_i64().unwrap() < 1_000);
        far["ticket"]["timeline"] = json!([]);
        assert_eq!(import(desk, &admin, "", &[far]).await[0]["number"], json!(900_000_000));
        let export = desk.get("/v1/exports/tickets").by(&admin).expect(200).await;
        assert_eq!(export.text().lines().count(), 2 + desk.all(&admin, "/v1/tickets").await.len());
    }

    async fn what_the_rules_refuse_is_mended_and_told(desk) {
        let admin = desk.admin().await;
        let taken = desk.ticket(&admin, json!({})).await["number"].clone();
        let mut kept = ticket("kept", json!([{ "at": "2021-03-02T09:00:00Z", "status": "closed" }]));
        kept["ticket"]["number"] = taken;
        kept["ticket"]["team"] = json!("No such team");
        kept["ticket"]["assignee"] = json!({ "email": "ada@example.org" });
        let told = import(desk, &admin, "", &[kept, ticket("mixed", json!([
            { "at": "2021-03-02T12:00:00Z", "status": "closed" }, { "at": "2021-03-02T09:00:00Z", "status": "closed" }, { "at": "2021-03-02T10:00:00Z", "status": "hold" },
            { "at": "2021-03-02T11:00:00Z", "work_s": 60 },
        ]))]).await;
        assert_eq!((&told[0]["number"], &told[1]["number"]), (&json!(2), &json!(3)));
        assert_eq!((told[0]["mended"].as_array().unwrap().len(), told[1]["mended"].as_array().unwrap().len()), (4, 4), "{told:?}");
        let events = desk.all(&admin, "/v1/tickets/3/events").await;
        let path: Vec<_> = events.iter().flat_map(|event| event["changes"].as_array().unwrap().clone()).filter(|change| change["field"] == "status").map(|change| change["after"].clone()).collect();
        assert_eq!(json!(path), json!(["new", "resolved", "open", "waiting_third_party", "resolved", "closed"]));
        desk.rows_are_right().await;
    }

    async fn who_reads_only_once_all_is_sent_is_answered(desk) {
        const LINES: usize = 12_000;
        let admin = desk.admin().await;
        let line = format!("{{\"odd\":\"{}\"}}\n", "x".repeat(1_000));
        let head = format!("POST /v1/imports HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            admin.token, line.len() * LINES);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(desk.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..LINES {
            stream.write_all(line.as_bytes()).await.unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, mut chunks) = answer.split_once("\r\n\r\n").unwrap();
        let mut body = String::new();
        while let Some((size, rest)) = chunks.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            body.push_str(&rest[..size]);
            chunks = &rest[size + 2..];
        }
        assert!(body.len() > 3 << 20 && answer.ends_with("\r\n0\r\n\r\n"), "so much fits nowhere between, and it is whole");
        let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() == LINES && lines.iter().all(|line| line["ok"] == false));
    }

    async fn people_are_who_they_are_here(desk) {
        let admin = desk.admin().await;
        import(desk, &admin, "", &[agent_line(), json!({ "person": { "email": "ada@example.org", "external_id": "user-2", "name": "Ada" } })]).await;
        let told = import(desk, &admin, "", &[
            json!({ "person": { "email": "GRACE@example.org", "name": "Somebody else", "role": "requester", "active": false } }),
            json!({ "person": { "email": "grace@example.org", "external_id": "user-2", "name": "Two people" } }),
            ticket("early", json!([{ "at": "2020-01-01T00:00:00Z", "actor": { "external_id": "user-1" }, "status": "open" }])),
        ]).await;
        // Nothing of anybody is overwritten, and what was passed over is told.
        assert_eq!((&told[0]["result"], told[0]["mended"].as_array().map(Vec::len)), (&json!("unchanged"), Some(1)), "{told:?}");
        let grace = desk.all(&admin, "/v1/users").await.into_iter().find(|person| person["email"] == "grace@example.org").unwrap();
        assert_eq!((&grace["name"], &grace["role"], &grace["active"]), (&json!("Grace"), &json!("agent"), &json!(true)));
        assert_eq!(told[1]["problem"]["code"], json!("conflict"));
        assert_eq!(told[2]["mended"].as_array().map(Vec::len), Some(1));
        let early = desk.get(&format!("/v1/tickets/{}", told[2]["number"])).by(&admin).expect(200).await.body;
        assert_eq!(early["started_at"], json!("2021-03-02T08:00:00.000000Z"));
    }

    async fn what_nobody_had_promised_is_judged_from_then_on(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let targets = ["response", "first_reply", "service"].map(|target| json!({ "target": target, "target_s": 3_600, "hours": "calendar" }));
        let policy = json!({ "name": "All", "targets": targets });
        desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;
        let open = json!([{ "at": "2021-03-02T08:15:00Z", "actor": { "external_id": "user-1" }, "status": "open" }]);
        import(desk, &admin, "", &[agent_line(), ticket("new", json!([])), ticket("open", open), ticket("done", two_hours())]).await;
        let clocks = async |number: i64| {
            let ticket = desk.get(&format!("/v1/tickets/{number}")).by(&admin).expect(200).await.body;
            let clocks = ticket["clocks"].as_array().unwrap().iter().map(|clock| (clock["target"].as_str().unwrap().to_owned(), clock["state"].as_str().unwrap().to_owned(), clock["due_at"].clone()));
            clocks.collect::<Vec<_>>()
        };
        for number in 1..=3 {
            assert_eq!(clocks(number).await, [], "{number}: nobody has done anything yet");
        }
        desk.rows_are_right().await;
        // What happens first lets them be judged, by the policies of then, from the import on.
        desk.clock.pass_s(600);
        for number in 1..=2 {
            desk.patch(&format!("/v1/tickets/{number}")).by(&agent).json(&json!({ "priority": "high" })).expect(200).await;
        }
        let due = json!("2026-03-02T10:00:00.000000Z");
        let running = |target: &str| (target.to_owned(), "running".to_owned(), due.clone());
        assert_eq!(clocks(1).await, [running("response"), running("first_reply"), ("service".into(), "paused".into(), Value::Null)]);
        // Work on this one had begun before: nobody is blamed, or praised, for that.
        assert_eq!(clocks(2).await, [running("first_reply"), running("service")]);
        let told = desk.get("/v1/tickets/2/sla").by(&admin).expect(200).await.body;
        let segments = told["clocks"][1]["segments"].as_array().unwrap();
        assert_eq!(segments.iter().map(|segment| segment["counts"].as_bool().unwrap()).collect::<Vec<_>>(), [false, false, true], "{told}");
        assert_eq!(segments.iter().map(|segment| segment["elapsed_s"].as_i64().unwrap()).sum::<i64>(), 600);
        desk.clock.pass_s(7_200);
        desk.patch("/v1/tickets/2").by(&agent).json(&json!({ "status": "resolved" })).expect(200).await;
        let ticket = desk.get("/v1/tickets/2").by(&admin).expect(200).await.body;
        // Durations have their true zero.
        assert_eq!((&ticket["durations"]["response"]["calendar_s"], ticket["durations"]["service"]["calendar_s"].as_i64().unwrap() > 4 * 365 * 86_400), (&json!(900), true));
        assert_eq!(clocks(2).await[1].1, "breached");
        desk.rows_are_right().await;
        let window = "from=2021-01-01T00:00:00Z&to=2026-03-02T09:00:00Z";
        let figures = desk.get(&format!("/v1/metrics/summary?{window}")).by(&admin).expect(200).await.body["total"]["sla"].clone();
        assert!(["response", "first_reply", "service"].iter().all(|target| figures[*target]["met"] == 0 && figures[*target]["breached"] == 0), "{figures}");
    }

    async fn webhooks_tell_of_a_past_only_if_they_say_so(desk) {
        let admin = desk.admin().await;
        let hook = |name: &str, imported: bool| json!({ "name": name, "url": "http://127.0.0.1:1024/", "include_imported": imported, "types": ["ticket.created"] });
        let mut ids = Vec::new();
        for (name, imported) in [("quiet", false), ("all", true)] {
            let made = desk.post("/v1/webhooks").by(&admin).json(&hook(name, imported)).expect(201).await.body;
            assert_eq!(made["include_imported"], json!(imported));
            ids.push(made["id"].as_str().unwrap().to_owned());
        }
        import(desk, &admin, "", &[agent_line(), ticket("t", two_hours())]).await;
        desk.ticket(&admin, json!({})).await;
        desk.sequence().await;
        while hand_out(&desk.db.patient(), &desk.ids).await.unwrap() {}
        let mut queued = Vec::new();
        for id in ids {
            queued.push(desk.all(&admin, &format!("/v1/webhooks/{id}/deliveries")).await.len());
        }
        assert_eq!(queued, [1, 2]);
    }
}

/// Somebody of a desk that is lived at: their token, and their address.
struct Actor {
    who: Caller,
    email: String,
    is_staff: bool,
}

/// The people, the teams and the promises of a desk, the same for each that is set up so.
async fn set_up(desk: &Desk) -> (Caller, Vec<Actor>) {
    let admin = desk.admin().await;
    let mut actors = Vec::new();
    for nth in 0..4 {
        let who = if nth < 2 { desk.agent().await } else { desk.requester().await };
        let email = desk.get("/v1/me").by(&who).expect(200).await.body["email"].as_str().unwrap().to_owned();
        actors.push(Actor { who, email, is_staff: nth < 2 });
    }
    for name in ["First", "Second"] {
        desk.post("/v1/teams").by(&admin).json(&json!({ "name": name })).expect(201).await;
    }
    let hours =
        json!({ "monday": [{ "from": "08:00", "to": "16:00" }], "tuesday": [{ "from": "08:00", "to": "16:00" }] });
    let calendar = json!({ "name": "Office", "time_zone": "Europe/Oslo", "working_hours": hours, "is_default": true });
    let calendar = desk.post("/v1/sla/calendars").by(&admin).json(&calendar).send().await;
    let calendar = calendar.body["id"].clone();
    for (name, condition, target_s, hours) in [
        ("Urgent", json!({ "priorities": ["urgent"] }), 1_800, "calendar"),
        ("Others", json!({}), 7_200, if calendar.is_null() { "calendar" } else { "business" }),
    ] {
        let targets = ["response", "first_reply", "service"]
            .map(|target| json!({ "target": target, "target_s": target_s, "hours": hours }));
        let policy = json!({ "name": name, "condition": condition, "targets": targets, "calendar_id": calendar });
        desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;
    }
    (admin, actors)
}

/// The same value without ids, which differ from desk to desk.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() == 36 && text.split('-').count() == 5 => json!("an id"),
        Value::Array(items) => items.iter().map(plain).collect(),
        // How things are named on one desk is how they are named on the other.
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), plain(field))).collect(),
        other => other.clone(),
    }
}

/// Lives a history by chance over HTTP, and writes down what happened as lines of an import.
async fn live(desk: &Desk, actors: &[Actor], chance: &mut Chance) -> Vec<Value> {
    let agent = &actors[0].who;
    let teams: Vec<(String, String)> = desk
        .all(&desk.admin().await, "/v1/teams")
        .await
        .iter()
        .map(|team| (team["id"].as_str().unwrap().to_owned(), team["name"].as_str().unwrap().to_owned()))
        .collect();
    let mut lines = Vec::new();
    let mut open: BTreeMap<i64, usize> = BTreeMap::new();
    for _ in 0..90 {
        desk.clock.pass_us(1_000_000 + chance.below(3_000_000_000) as i64);
        let (now, actor) = (desk.clock.now().to_string(), chance.of(actors));
        if open.is_empty() || chance.below(6) == 0 {
            let requester = &actors[2 + chance.below(2)];
            let mut body = json!({ "subject": format!("s{}", chance.below(100)), "priority": chance.of(&["normal", "urgent"]), "tags": ["a"], "external_id": format!("x{}", lines.len()) });
            let reported = if chance.below(2) == 0 && actor.is_staff {
                desk.clock.now().plus_s(-900).to_string()
            } else {
                now.clone()
            };
            if actor.is_staff {
                body["requester_id"] = json!(requester.who.id);
                body["reported_at"] = json!(reported);
            }
            let made = desk.post("/v1/tickets").by(&actor.who).json(&body).expect(201).await.body;
            let owner = if actor.is_staff { &requester.email } else { &actor.email };
            lines.push(json!({ "ticket": { "external_id": body["external_id"], "number": made["number"], "subject": body["subject"], "priority": body["priority"], "tags": ["a"], "channel": "api",
                "requester": { "email": owner }, "created_by": { "email": actor.email }, "reported_at": made["reported_at"], "created_at": now, "timeline": [] } }));
            open.insert(made["number"].as_i64().unwrap(), lines.len() - 1);
            continue;
        }
        let numbers: Vec<i64> = open.keys().copied().collect();
        let number = *chance.of(&numbers);
        let place = format!("/v1/tickets/{number}");
        let (mut entry, answer) = match chance.below(7) {
            0..=2 => {
                let visibility = if actor.is_staff && chance.below(3) == 0 { "internal" } else { "public" };
                let comment = json!({ "body": format!("c{}", chance.below(1_000)), "visibility": visibility });
                let answer = desk.post(&format!("{place}/comments")).by(&actor.who).json(&comment).send().await;
                (json!({ "comment": comment }), answer)
            }
            3 | 4 => {
                let ticket = desk.get(&place).by(agent).expect(200).await.body;
                let next: Vec<String> = ticket["allowed_statuses"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|status| status.as_str().unwrap().to_owned())
                    .collect();
                let status = chance.of(&next);
                (
                    json!({ "status": status }),
                    desk.patch(&place).by(agent).json(&json!({ "status": status })).send().await,
                )
            }
            5 => {
                let (id, name) = chance.of(&teams);
                let priority = chance.of(&["low", "urgent"]);
                let patch = json!({ "team_id": id, "priority": priority, "assignee_id": actors[1].who.id, "tags": ["b", "c"], "custom_fields": { "n": chance.below(9) } });
                let entry = json!({ "team": name, "priority": priority, "assignee": { "email": actors[1].email }, "tags": ["b", "c"], "custom_fields": patch["custom_fields"] });
                (entry, desk.patch(&place).by(agent).json(&patch).send().await)
            }
            _ => {
                let work = json!({ "work_s": 60 * (1 + chance.below(50)) });
                (work.clone(), desk.post(&format!("{place}/time-entries")).by(agent).json(&work).send().await)
            }
        };
        if !answer.status.is_success() {
            continue;
        }
        entry["at"] = json!(now);
        let by = if entry.get("comment").is_some() { actor } else { &actors[0] };
        entry["actor"] = json!({ "email": by.email });
        let line = open[&number];
        lines[line]["ticket"]["timeline"].as_array_mut().unwrap().push(entry);
        if desk.get(&place).by(agent).expect(200).await.body["status"] == "closed" {
            open.remove(&number);
        }
    }
    lines
}

/// What is told of all tickets, of their clocks, of what happened to them, and in reports.
async fn told(desk: &Desk, admin: &Caller) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let tickets = desk.all(admin, "/v1/tickets?sort=created_at&limit=200").await;
    for ticket in &tickets {
        let number = &ticket["number"];
        for part in ["", "/events", "/comments", "/time-entries", "/sla"] {
            let path = format!("/v1/tickets/{number}{part}");
            let body = if part.is_empty() || part == "/sla" {
                desk.get(&path).by(admin).expect(200).await.body
            } else {
                json!(desk.all(admin, &path).await)
            };
            all.push((path, plain(&body)));
        }
    }
    let window = format!("from=2026-03-01T00:00:00Z&to={}", desk.clock.now().plus_s(3_600));
    for path in [
        format!("/v1/metrics/summary?{window}&group_by=priority"),
        format!("/v1/metrics/timeseries?{window}&interval=day"),
        "/v1/metrics/backlog".to_owned(),
    ] {
        all.push((path.clone(), plain(&desk.get(&path).by(admin).expect(200).await.body)));
    }
    all
}

/// A history that was lived here, and the same one imported by the same promises, are told alike to the last second.
async fn lived_and_imported(engine: Engine) {
    let mut chance = Chance(seed());
    let (lived, imported) = (Desk::open(engine).await, Desk::open(engine).await);
    let (admin, actors) = set_up(&lived).await;
    let (other_admin, _) = set_up(&imported).await;
    let lines = live(&lived, &actors, &mut chance).await;
    // The same instant on both.
    lived.clock.pass_us(1_000_000);
    imported.clock.go_to(&lived.clock.now().to_string());
    let taken = import(&imported, &other_admin, "?judge=current", &lines).await;
    assert!(taken.iter().all(|line| line["ok"] == true && line.get("mended").is_none()), "{taken:?}");
    let (one, other) = (told(&lived, &admin).await, told(&imported, &other_admin).await);
    assert_eq!(one.len(), other.len());
    for ((path, one), (_, other)) in one.into_iter().zip(other) {
        assert_eq!(one, other, "{path}");
    }
    imported.rows_are_right().await;
    lived.close().await;
    imported.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lived_and_what_is_imported_are_the_same_on_sqlite() {
    lived_and_imported(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lived_and_what_is_imported_are_the_same_on_postgres() {
    lived_and_imported(Engine::Postgres).await;
}

/// An import that is killed again and again is whole in the end, and has nothing twice.
async fn killed(engine: Engine) {
    const TICKETS: i64 = 1_500;
    let mut chance = Chance(seed());
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let admin = place.person("admin").await;
    let lines: Vec<String> = std::iter::once(agent_line().to_string())
        .chain((0..TICKETS).map(|n| {
            let mut line = ticket(&format!("t{n}"), two_hours());
            line["ticket"]["number"] = json!(n * 2 + 1);
            line.to_string()
        }))
        .collect();
    std::fs::write(place.path("past.ndjson"), lines.join("\n")).unwrap();
    for kill in 0..3 {
        // At any moment: of the command, or of the server that takes it over HTTP beside it.
        let before = store.count("tickets").await;
        let mut process = place.spawn(env!("CARGO_BIN_EXE_skranke"), &["import", "past.ndjson", "--source", "z"], "");
        while store.count("tickets").await < before + 1 + kill * 200 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tokio::time::sleep(std::time::Duration::from_micros(chance.below(20_000) as u64)).await;
        process.kill();
    }
    assert!(store.count("tickets").await < TICKETS, "it was killed before its end");
    let done = place.run(&["import", "past.ndjson", "--source", "z"]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(
        (store.count("tickets").await, store.count("comments").await, store.count("imported").await),
        (TICKETS, 3 * TICKETS, TICKETS + 1)
    );
    assert_eq!(store.count("events WHERE origin = 'import'").await, 11 * TICKETS);
    let again = place.run(&["import", "past.ndjson", "--source", "z"]).await;
    assert!(again.out.contains(&format!("{} as they were", TICKETS + 1)), "{}", again.out);
    let newest = server.get("/v1/tickets?limit=1").by(&admin).expect(200).await;
    assert_eq!(newest.body["items"].as_array().unwrap().len(), 1);
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_is_whole_in_the_end_on_sqlite() {
    killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_is_whole_in_the_end_on_postgres() {
    killed(Engine::Postgres).await;
}
