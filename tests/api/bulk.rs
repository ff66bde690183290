//! Several writes in one request: each for itself, or all or none, and a retry that goes on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::start::{Place, Server};
use crate::support::{Answer, Ask, Caller, Chance, Desk, Engine, Store, seed};

fn bulk(desk: &Desk, who: &Caller, atomic: bool, operations: &Value) -> Ask {
    desk.post("/v1/tickets/bulk").by(who).json(&json!({ "atomic": atomic, "operations": operations }))
}

fn statuses(answer: &Answer) -> Vec<u64> {
    answer.body["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect()
}

on_both! {
    async fn each_operation_has_a_result_of_its_own(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let operations = json!([
            { "create": { "subject": "New", "external_id": "x" } },
            { "create": { "subject": "Again", "external_id": "x" } },
            { "update": { "id": ticket["number"], "if_match": "\"1\"", "patch": { "priority": "urgent" }, "comment": { "body": "On it.", "visibility": "public" } } },
            { "update": { "id": ticket["id"], "if_match": 1, "patch": { "priority": "low" } } },
            { "update": { "id": 4711, "patch": { "priority": "low" } } },
            { "update": { "id": ticket["number"], "patch": { "priority": "loud", "team_id": "7" } } },
            { "redact": { "id": ticket["number"] } },
            { "explode": { "id": 1 } },
            { "create": { "subject": "" }, "redact": { "id": 1 } },
            { "update": { "id": ticket["number"], "patch": { "assignee_id": ada.id }, "comment": { "body": "", "visibility": "public" } } },
        ]);
        let answer = bulk(desk, &agent, false, &operations).expect(200).await;
        assert_eq!(statuses(&answer), [201, 409, 200, 412, 404, 422, 403, 422, 422, 422], "{}", answer.text());
        let items = answer.body["items"].as_array().unwrap();
        let made = desk.get(items[0]["location"].as_str().unwrap()).by(&agent).expect(200).await;
        assert_eq!((&made.body, items[0]["etag"].as_str()), (&items[0]["ticket"], made.header("etag")));
        assert_eq!((&items[1]["problem"]["code"], &items[1]["problem"]["existing"]["status"]), (&json!("duplicate_external_id"), &json!("new")));
        assert_eq!((&items[2]["ticket"]["priority"], &items[2]["ticket"]["status"]), (&json!("urgent"), &json!("open")));
        assert_eq!(items[3]["problem"]["version"], items[2]["ticket"]["version"]);
        let places = |item: &Value| item["problem"]["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(places(&items[5]), ["/operations/5/update/patch/priority", "/operations/5/update/patch/team_id"]);
        assert_eq!((places(&items[7]), places(&items[8])), (vec!["/operations/7/explode".to_owned()], vec!["/operations/8".to_owned()]));
        assert_eq!(places(&items[9]), ["/operations/9/comment/body"]);
        assert!(items[5]["problem"]["request_id"].is_string() && items[5]["problem"]["type"] == "/docs#validation_failed");
        // Who may do less is refused that alone.
        let answer = bulk(desk, &ada, false, &json!([{ "update": { "id": 1, "patch": { "subject": "Mine" } } }, { "update": { "id": 1, "patch": { "assignee_id": "me" } } },
            { "update": { "id": 2, "patch": { "subject": "Not mine" } } }, { "create": { "subject": "Help", "team_id": null } }])).expect(200).await;
        assert_eq!(statuses(&answer), [200, 403, 404, 201], "{}", answer.text());
        let answer = bulk(desk, &admin, false, &json!([{ "redact": { "id": 1 } }, { "redact": { "id": 1 } }])).expect(200).await;
        assert_eq!(statuses(&answer), [204, 204]);
        assert_eq!(desk.read_ticket(&admin, &ticket).await["subject"], json!("Redacted"));
        // Whoever may not read tickets is told where they are.
        let script = desk.account("tickets:write").await;
        let answer = bulk(desk, &script, false, &json!([{ "create": { "subject": "s" } }, { "update": { "id": 2, "patch": { "priority": "low" } } }])).expect(200).await;
        let items = answer.body["items"].as_array().unwrap();
        assert_eq!(statuses(&answer), [201, 204]);
        assert!(items.iter().all(|item| item.get("ticket").is_none() && item["location"].is_string() && item["etag"].is_string()));
        desk.rows_are_right().await;
    }

    async fn all_are_done_or_none(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let good = json!([{ "create": { "subject": "One" } }, { "update": { "id": 1, "patch": { "priority": "high" } } }, { "update": { "id": 1, "patch": { "status": "closed" } } }]);
        for (bad, code, place) in [
            (json!({ "update": { "id": 1, "patch": { "status": "waiting_requester" } } }), "ticket_closed", None),
            (json!({ "update": { "id": 99, "patch": {} } }), "not_found", None),
            (json!({ "create": { "subject": "" } }), "validation_failed", Some("/operations/3/create/subject")),
            (json!({ "redact": { "id": 1 } }), "forbidden", None),
        ] {
            let mut operations = good.clone();
            operations.as_array_mut().unwrap().push(bad);
            let answer = bulk(desk, &agent, true, &operations).send().await;
            assert_eq!((answer.body["code"].as_str(), answer.body["pointer"].as_str()), (Some(code), Some("/operations/3")), "{}", answer.text());
            if let Some(place) = place {
                assert_eq!(answer.pointers(), [place]);
            }
            assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
            assert_eq!(desk.read_ticket(&agent, &ticket).await, ticket);
        }
        let answer = bulk(desk, &agent, true, &good).expect(200).await;
        assert_eq!(statuses(&answer), [201, 200, 200]);
        // Closed in one operation: it was resolved on its way, at the same instant.
        let closed = &answer.body["items"][2]["ticket"];
        assert_eq!((&closed["status"], &closed["resolved_at"], &closed["started_at"]), (&json!("closed"), &closed["closed_at"], &closed["closed_at"]));
        desk.rows_are_right().await;
    }

    async fn whatever_stands_anywhere_is_closed_in_one_operation(desk) {
        let agent = desk.agent().await;
        for (number, path) in [vec![], vec!["open"], vec!["open", "waiting_requester"], vec!["open", "waiting_third_party"], vec!["resolved"]].into_iter().enumerate() {
            let ticket = desk.ticket(&agent, json!({})).await;
            for status in path {
                desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
            }
            let close = json!([{ "update": { "id": number + 1, "patch": { "status": "closed", "priority": "low" }, "comment": { "body": "Done.", "visibility": "public" } } }]);
            let answer = bulk(desk, &agent, number % 2 == 0, &close).expect(200).await;
            assert_eq!((statuses(&answer), &answer.body["items"][0]["ticket"]["status"]), (vec![200], &json!("closed")), "{}", answer.text());
        }
        let again = bulk(desk, &agent, false, &json!([{ "update": { "id": 1, "patch": { "status": "closed" } } }])).expect(200).await;
        assert_eq!(again.body["items"][0]["problem"]["code"], json!("ticket_closed"));
    }

    async fn a_retry_goes_on_where_it_stopped(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "external_id": "taken" })).await;
        let operations = json!([{ "create": { "subject": "One" } }, { "create": { "subject": "Two", "external_id": "taken" } }, { "create": { "subject": "Three" } },
            { "update": { "id": 1, "patch": { "tags": ["seen"] }, "comment": { "body": "Once.", "visibility": "internal" } } }]);
        let send = |atomic: bool, key: &str, operations: &Value| bulk(desk, &agent, atomic, operations).header("idempotency-key", key);
        let first = send(false, "k", &operations).expect(200).await;
        assert_eq!(statuses(&first), [201, 409, 201, 200]);
        // What stood in the way is gone: the rest is done, and what was done is told again.
        desk.patch("/v1/tickets/1").by(&agent).json(&json!({ "external_id": null })).expect(200).await;
        let again = send(false, "k", &operations).expect(200).await;
        assert_eq!(statuses(&again), [201, 201, 201, 200]);
        let replayed: Vec<_> = again.body["items"].as_array().unwrap().iter().map(|item| item["replayed"] == true).collect();
        assert_eq!(replayed, [true, false, true, true]);
        for n in [0, 2, 3] {
            assert_eq!(again.body["items"][n]["ticket"], first.body["items"][n]["ticket"]);
        }
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 4);
        assert_eq!(desk.all(&agent, "/v1/tickets/1/comments").await.len(), 1);
        // Another request is another one, and so is the same all or none.
        send(false, "k", &json!([{ "create": { "subject": "Other" } }])).refused(422, "idempotency_key_reused").await;
        send(true, "k", &operations).refused(422, "idempotency_key_reused").await;
        let mut longer = operations.clone();
        longer.as_array_mut().unwrap().push(json!({ "create": { "subject": "More" } }));
        send(false, "k", &longer).refused(422, "idempotency_key_reused").await;
        let elsewhere = desk.post("/v1/tickets").by(&agent).header("idempotency-key", "k").json(&json!({ "subject": "More" }));
        elsewhere.refused(422, "idempotency_key_reused").await;
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 4, "nothing of another request was done");
        let both = json!([{ "create": { "subject": "A" } }, { "create": { "subject": "B" } }]);
        let first = send(true, "all", &both).expect(200).await;
        let again = send(true, "all", &both).expect(200).await;
        assert_eq!(first.body["items"][1]["ticket"], again.body["items"][1]["ticket"]);
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 6);
        // What was erased is not told again.
        let admin = desk.admin().await;
        desk.delete(&format!("/v1/tickets/{}", first.body["items"][0]["ticket"]["id"].as_str().unwrap())).by(&admin).expect(204).await;
        let again = send(true, "all", &both).expect(200).await;
        assert_eq!((&again.body["items"][0]["ticket"]["subject"], &again.body["items"][1]["ticket"]["subject"]), (&json!("Redacted"), &json!("B")));
    }

    async fn so_many_and_no_more(desk) {
        let agent = desk.agent().await;
        let many = |count: usize| json!((0..count).map(|n| json!({ "create": { "subject": format!("t{n}"), "description": "d".repeat(15_000) } })).collect::<Vec<_>>());
        bulk(desk, &agent, false, &many(201)).refused(422, "validation_failed").await;
        bulk(desk, &agent, false, &json!([])).refused(422, "validation_failed").await;
        desk.post("/v1/tickets/bulk").by(&agent).json(&json!({ "operations": 7, "nope": 1 })).refused(422, "validation_failed").await;
        desk.post("/v1/tickets/bulk").by(&agent).header("if-match", "\"1\"").json(&json!({ "operations": [] })).refused(412, "version_mismatch").await;
        desk.get("/v1/tickets/bulk").by(&agent).refused(405, "method_not_allowed").await;
        let answer = bulk(desk, &agent, false, &many(200)).expect(200).await;
        assert!(statuses(&answer).iter().all(|status| *status == 201));
        // In their order.
        let numbers = desk.all(&agent, "/v1/tickets?sort=created_at&limit=200").await.len();
        assert_eq!(numbers, 200);
        // The answer has room for some of them; of all others it tells where they are.
        let items = answer.body["items"].as_array().unwrap();
        let shown = items.iter().filter(|item| item.get("ticket").is_some()).count();
        assert!((20..100).contains(&shown) && items.iter().all(|item| item["location"].is_string()), "{shown}");
        assert!(answer.bytes.len() < (1 << 20) + 200 * 300);
        // Ten of them count as one request more.
        let url = desk.instance_with(|mut settings| {
            settings.limits.per_principal = 21;
            settings
        });
        let send = |count: usize| desk.ask_at(&url, reqwest::Method::POST, "/v1/tickets/bulk").by(&agent).json(&json!({ "operations": many(count) }));
        assert_eq!(statuses(&send(100).expect(200).await).len(), 100);
        send(100).refused(429, "rate_limited").await;
    }

    async fn those_on_one_ticket_are_done_in_their_order(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        desk.ticket(&agent, json!({})).await;
        let operations: Vec<_> = (0..60).map(|n| json!({ "update": { "id": n % 2 + 1, "patch": { "subject": format!("s{n}") } } })).collect();
        let answer = bulk(desk, &agent, false, &json!(operations)).expect(200).await;
        assert!(statuses(&answer).iter().all(|status| *status == 200), "{}", answer.text());
        for (place, last) in [("/v1/tickets/1", "s58"), ("/v1/tickets/2", "s59")] {
            assert_eq!(desk.get(place).by(&agent).expect(200).await.body["subject"], json!(last));
            let subjects = desk.all(&agent, &format!("{place}/events?limit=200")).await;
            let subjects: Vec<i64> = subjects[1..].iter().map(|event| event["changes"][0]["after"].as_str().unwrap()[1..].parse().unwrap()).collect();
            assert!(subjects.windows(2).all(|pair| pair[0] < pair[1]), "{subjects:?}");
        }
    }
}

/// A process is killed in the middle of a request with many operations, which is sent again until it is answered.
async fn killed(engine: Engine) {
    const OPERATIONS: usize = 200;
    let mut chance = Chance(seed());
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let mut server = place.start().await;
    let admin = place.person("admin").await;
    // Half of them open a ticket, and the other half say something on the first one.
    let of_round = |round: usize, nth: usize| match nth % 2 {
        0 => json!({ "create": { "subject": format!("{round}/{nth}"), "external_id": format!("{round}/{nth}") } }),
        _ => {
            json!({ "update": { "id": 1, "patch": { "tags": [format!("t{nth}")] }, "comment": { "visibility": "internal", "body": format!("{round}/{nth}") } } })
        }
    };
    server.post("/v1/tickets").by(&admin).json(&json!({ "subject": "The first" })).expect(201).await;
    for round in 0..3 {
        let operations: Vec<Value> = (0..OPERATIONS).map(|nth| of_round(round, nth)).collect();
        let body = json!({ "operations": operations });
        let ask = |server: &Server| {
            server.post("/v1/tickets/bulk").by(&admin).header("idempotency-key", &format!("round {round}")).json(&body)
        };
        let (asked, before) = (ask(&server), store.count("tickets").await);
        let asked = tokio::spawn(asked.0.send());
        while store.count("tickets").await < before + 1 + i64::try_from(chance.below(60)).unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.process.kill();
        assert!(asked.await.unwrap().is_err(), "it was answered before it was killed");
        server = place.start().await;
        let results = ask(&server).expect(200).await.body["items"].as_array().unwrap().clone();
        assert!(results.iter().all(|result| result["status"] == 201 || result["status"] == 200), "{results:?}");
        let replayed = results.iter().filter(|result| result["replayed"] == true).count();
        assert!(replayed > 0, "what was done before is done no second time");
        let again = ask(&server).expect(200).await.body["items"].as_array().unwrap().clone();
        assert!(again.iter().all(|result| result["replayed"] == true));
    }
    let half = i64::try_from(3 * OPERATIONS / 2).unwrap();
    assert_eq!((store.count("tickets").await, store.count("comments").await), (half + 1, half));
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_in_the_middle_is_done_once_on_sqlite() {
    killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_in_the_middle_is_done_once_on_postgres() {
    killed(Engine::Postgres).await;
}
